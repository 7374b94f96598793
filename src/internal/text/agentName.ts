/** A name of an agent, as websocktunnel allows for its ids. */
export const isName = (text: string): boolean => /^[\w~.%-]{1,256}$/.test(text)

/** The characters of a name, for the message of a fault. */
export const characters = "letters, digits and _ ~ . % -"

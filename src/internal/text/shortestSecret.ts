/** The fewest characters of a secret of HS256. An attacker who has a token can try secrets without the server. */
export const shortestSecret = 16

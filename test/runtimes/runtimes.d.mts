export declare const current: string
export declare const downloads: Readonly<Record<string, { readonly version: string }>>
export declare const names: ReadonlyArray<string>
export declare const newestNode: string
export declare const commandOf: (name: string) => ReadonlyArray<string> | undefined
export declare const fetchAll: () => Promise<void>
export declare const versions: () => ReadonlyArray<string>

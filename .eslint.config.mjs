import effect from "@effect/eslint-plugin"
import tseslint from "typescript-eslint"

export default tseslint.config(
  { ignores: ["test/**/build/**", "dist/**", "node_modules/**"] },
  {
    files: ["**/*.ts", "**/*.mjs", "**/*.cjs"],
    extends: [...tseslint.configs.recommended],
    plugins: { "@effect": effect },
    rules: {
      "@effect/dprint": ["error", {
        config: {
          indentWidth: 2,
          lineWidth: 120,
          operatorPosition: "maintain",
          semiColons: "asi",
          quoteStyle: "alwaysDouble",
          trailingCommas: "never",
          "arrowFunction.useParentheses": "force"
        }
      }],
      "@typescript-eslint/array-type": ["error", { default: "generic", readonly: "generic" }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // dprint wraps code, and leaves comments and strings as they are
      "max-len": ["error", { code: 120, ignoreUrls: true }],
      // interfaces and their tags share a name, as everywhere in Effect
      "@typescript-eslint/no-redeclare": "off"
    }
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "no-restricted-syntax": ["error", {
        selector: "ImportDeclaration[source.value=/^(effect|@effect\\u002f[a-z-]+)$/]:not([importKind='type'])",
        message: "import namespaces from subpaths, such as effect/Effect"
      }]
    }
  },
  {
    files: ["**/*.cjs"],
    languageOptions: { sourceType: "commonjs" }
  }
)

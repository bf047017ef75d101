import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/*.mjs', '**/*.mts', 'dist', 'docs', 'native', 'release'] },
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { project: ['tsconfig.json', 'test/tsconfig.json'], tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/no-invalid-void-type': ['error', { allowAsThisParameter: true }],
      // Numbers from the wire and from the native half are those of the enums.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      '@typescript-eslint/no-unsafe-enum-comparison': 'off',
      // It takes some for unnecessary that the compiler needs.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      // Some make a protected constructor public.
      '@typescript-eslint/no-useless-constructor': 'off',
      // What callers from JavaScript hand over is not always of the type it should be.
      '@typescript-eslint/no-unnecessary-condition': 'off',
    },
  },
  {
    files: ['test/**'],
    rules: {
      // Matchers are of any type.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-meaningless-void-operator': 'off',
    },
  },
);

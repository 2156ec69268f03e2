import { defineConfig } from "vitest/config";

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  test: { include: ["client/test/**/*.test.ts", "page/test/**/*.test.{ts,tsx}"], environment: "node" },
});

import { defineConfig } from "vite";

// Every address is relative, so that the page works below any prefix; nothing is inlined, so that a policy of
// `default-src 'self'` serves it.
export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    port: 5173,
    // `npm run mock` or a gateway; set TIDEGATE_URL for one elsewhere.
    proxy: { "/v1": { target: process.env["TIDEGATE_URL"] ?? "http://127.0.0.1:8080", ws: true } },
  },
});

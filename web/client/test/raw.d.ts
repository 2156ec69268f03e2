// Vite's way to read a file as text, in tests only.
declare module "*?raw" {
  const text: string;
  export default text;
}

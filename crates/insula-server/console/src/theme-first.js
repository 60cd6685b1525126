// Runs before anything is painted, so that nobody sees the wrong theme for a moment. A classic script: modules come later.
try {
  const theme = localStorage.getItem("insula.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme is used then.
}

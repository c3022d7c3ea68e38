"""The page's style sheet and its one script, both constant: nothing that others wrote is in them."""

from __future__ import annotations

from app.address import COLUMNS

FONTS = (
    '"Source Sans", system-ui, "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", '
    '"Microsoft YaHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", sans-serif'
)
"""Latin first, then the Chinese fonts that the usual systems install."""

_SHEET = """
:root { --ts-line: rgba(128, 128, 128, .35); --ts-mark: 46, 160, 67; }
.stApp, .stApp button, .stApp input, .stApp textarea { font-family: FONTS; }
.stMainBlockContainer { padding-top: 4rem; padding-bottom: 3rem; }
.ts-title { font-size: 1.75rem; margin: 0; padding: 0; }
.ts-quiet { opacity: .78; margin: 0; overflow-wrap: anywhere; }
.ts-heading { font-size: 1rem; font-weight: 600; margin: .5rem 0 .25rem; padding: 0; }
.ts-caption { font-size: 1.4rem; line-height: 1.45; margin: 0; overflow-wrap: anywhere; }
.ts-caption.other { font-size: 1.1rem; }
.ts-note { font-size: .85rem; opacity: .78; }
.ts-items { margin: 0; padding: 0 !important; list-style: none; }
.ts-items li { padding: .25rem 0; margin: 0; border-bottom: 1px solid var(--ts-line);
  overflow-wrap: anywhere; }
mark.n { color: inherit; border-radius: .2rem; padding: 0 .05em;
  border-bottom: 2px solid rgba(var(--ts-mark), .8); }
mark.n1 { background: rgba(var(--ts-mark), .10); border-bottom-style: dotted; }
mark.n2 { background: rgba(var(--ts-mark), .18); }
mark.n3 { background: rgba(var(--ts-mark), .27); }
mark.n4 { background: rgba(var(--ts-mark), .38); }
.st-key-gallery { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill,
    minmax(max(8.5rem, calc(100% / var(--ts-columns, 5) - 1rem)), 1fr)); }
.st-key-gallery > * { width: 100% !important; height: 100%; min-width: 0; }
[class*="st-key-card-"] { position: relative; gap: 0; border: 1px solid var(--ts-line); border-radius: .6rem;
  overflow: hidden; height: 100%; }
[class*="st-key-card-"] .stElementContainer:has(button) {
  position: absolute; inset: 0; width: 100% !important; height: 100%; }
[class*="st-key-card-"] .stButton, [class*="st-key-card-"] .stButton > *, [class*="st-key-card-"] button {
  width: 100%; height: 100%; }
[class*="st-key-card-"] button { background: transparent; border-color: transparent; border-radius: .6rem; }
[class*="st-key-card-"] button:hover, [class*="st-key-card-"] button:focus-visible {
  border: 2px solid #1f6feb; outline: none; box-shadow: none; background: transparent; }
[class*="st-key-card-"] button * { opacity: 0; }
.ts-card img, .ts-broken { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; display: block; }
.ts-broken { display: grid; place-content: center; text-align: center; padding: 1rem; font-size: .85rem;
  background: rgba(128, 128, 128, .15); overflow: hidden; }
.ts-card p { margin: .5rem .75rem; overflow-wrap: anywhere; display: -webkit-box; -webkit-line-clamp: 4;
  -webkit-box-orient: vertical; overflow: hidden; }
.ts-card div.chips { margin: 0 .75rem .4rem; }
.ts-chip { display: inline-block; border-radius: 1rem; padding: .1rem .6rem; margin: 0 .3rem .3rem 0;
  font-size: .85rem; color: #1f2328; background: #e4e7eb; overflow-wrap: anywhere; }
.ts-chip.good { color: #0b3d17; background: #c9efd1; }
.ts-chip.fair { color: #4d3300; background: #ffe9b8; }
.ts-chip.poor { color: #5c0f0f; background: #ffd7d5; }
.ts-figure { position: relative; width: 100%; margin: 0 auto; line-height: 0; }
.ts-figure img { display: block; width: 100% !important; max-width: none !important;
  max-height: none !important; object-fit: fill !important;
  height: auto; margin: 0 !important; border-radius: .4rem; }
.ts-figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.ts-figure g.region:hover rect { stroke-width: .5%; stroke-opacity: 1; }
.ts-scroll { overflow-x: auto; }
.ts-table { width: 100%; border-collapse: collapse; font-size: .95rem; }
.ts-table th, .ts-table td { text-align: left; padding: .3rem .5rem; border: 0;
  border-bottom: 1px solid var(--ts-line); vertical-align: top; overflow-wrap: anywhere; }
.ts-table th { word-break: keep-all; overflow-wrap: normal; }
.ts-table .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ts-bar { display: flex; height: 1rem; border-radius: .3rem; overflow: hidden;
  background: rgba(128, 128, 128, .2); }
.ts-bar span { display: block; }
.ts-bar .win { background: #1f6feb; } .ts-bar .tie { background: rgba(128, 128, 128, .45); }
.ts-bar .loss { background: #d97706; }
.ts-key { display: inline-block; min-width: 1.6em; padding: 0 .4em; border: 1px solid var(--ts-line);
  border-radius: .3rem; text-align: center; font-family: ui-monospace, monospace; }
.ts-keys { background: none; border: 0; color: inherit; padding: .3rem; cursor: pointer;
  white-space: nowrap; }
#ts-keys { background: Canvas; color: CanvasText; border: 1px solid var(--ts-line); border-radius: .6rem;
  padding: 1rem 1.5rem; box-shadow: 0 .5rem 2rem rgba(0, 0, 0, .3); }
#ts-keys::backdrop { background: rgba(0, 0, 0, .3); }
.st-key-script { height: 0; overflow: visible; }
:focus-visible { outline: 2px solid #1f6feb; outline-offset: 2px; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: .9rem; padding-right: .9rem; }
  .st-key-frame > :last-child { position: absolute; } .ts-keys { display: none; }
  .st-key-view button { padding-left: .45rem; padding-right: .45rem; min-width: 0; }
  .st-key-toolbar > :first-child { flex: 1 1 100%; }
  .st-key-gallery { grid-template-columns: 1fr 1fr; gap: .6rem; }
  .ts-card p { margin: .4rem .5rem; font-size: .9rem; }
  .ts-card div.chips { margin: 0 .5rem .3rem; }
  .ts-caption { font-size: 1.2rem; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
"""


def sheet(columns: int) -> str:
    """The style sheet, with so many pictures of the gallery side by side where there is room."""
    if columns not in COLUMNS:
        raise ValueError(f"wanted columns in {COLUMNS}, got {columns}")
    return f"<style>{_SHEET.replace('FONTS', FONTS)}\n:root {{ --ts-columns: {columns}; }}</style>"


_SCRIPT = """
(() => {
  const wanted = "THEME";
  const url = new URL(window.location.href);
  if (wanted && !url.searchParams.getAll("embed_options").includes(wanted + "_theme")) {
    const colour = getComputedStyle(document.querySelector(".stApp")).backgroundColor;
    const [r, g, b] = colour.match(/\\d+/g).map(Number);
    if ((r + g + b < 384 ? "dark" : "light") !== wanted) {
      url.searchParams.delete("embed_options");
      url.searchParams.append("embed_options", wanted + "_theme");
      window.location.replace(url.href);
      return;
    }
  }
  document.documentElement.lang = "LANGUAGE";
  // On the body: what ends here does not reach Streamlit's own shortcuts, which listen to the document.
  if (window.tushuoKeys) document.body.removeEventListener("keydown", window.tushuoKeys);
  window.tushuoKeys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.target;
    const writes = at.isContentEditable || ["TEXTAREA", "SELECT"].includes(at.tagName) ||
      (at.tagName === "INPUT" && !["checkbox", "radio", "range", "button"].includes(at.type));
    const itsOwn = writes || document.querySelector("#ts-keys:popover-open");
    if (event.key === "Escape" && itsOwn) event.stopPropagation();
    const key = { "/": ".st-key-q input", "?": "#ts-keys" }[event.key];
    const found = !writes && key && document.querySelector(key);
    if (!found) return;
    event.preventDefault();
    if (event.key === "?") found.togglePopover(); else { found.focus(); found.select(); }
  };
  document.body.addEventListener("keydown", window.tushuoKeys);
})();
"""
"""The theme that the address asks for, and the keys that `st.button(shortcut=…)` does not know
or, like Esc, takes from a field that somebody writes in.

Streamlit has no way to set a session's theme but its own address option, which it drops when the address
changes; so the theme stands in ours too, and the page is opened again with Streamlit's where it has another.
"""


def script(theme: str, language: str) -> str:
    """The script, for a theme (light, dark, or none in particular) and a language."""
    if theme not in ("", "light", "dark") or language not in ("zh", "en"):
        raise ValueError(f"unknown theme {theme!r} or language {language!r}")
    return f"<script>{_SCRIPT.replace('THEME', theme).replace('LANGUAGE', language)}</script>"

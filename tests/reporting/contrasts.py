"""The contrasts of text and page, as a script that runs in a browser."""

CONTRASTS = """
const channels = color => color.match(/[\\d.]+/g).map(Number);
const luminance = color => {
  const [r, g, b] = channels(color).slice(0, 3).map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const page = luminance(getComputedStyle(document.body).backgroundColor);
return ["body", ".note", "svg text", ".tag"].map(selector => {
  const element = document.querySelector(selector), style = getComputedStyle(element);
  const text = luminance(element.closest("svg") ? style.fill : style.color);
  return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
});
"""

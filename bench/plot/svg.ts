// SVG as text: elements with escaped attributes and content, nothing more.

export type Attributes = Readonly<Record<string, string | number>>;

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text that may stand in XML content and attributes; what XML 1.0 forbids is left out. */
export function escapeXml(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what XML has no place for
  const allowed = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "");
  return allowed.replace(/[&<>"]/g, (letter) => ESCAPES[letter] ?? letter);
}

/** Numbers in pixels, at most one digit after the point. */
const written = (value: string | number) =>
  typeof value === "number" ? `${Math.round(value * 10) / 10}` : escapeXml(value);

/** One element; `content` is XML already. */
export function element(name: string, attributes: Attributes, content = ""): string {
  const all = Object.entries(attributes).map(([key, value]) => ` ${key}="${written(value)}"`);
  const head = `<${name}${all.join("")}`;
  return content === "" ? `${head}/>` : `${head}>${content}</${name}>`;
}

export const line = (x1: number, y1: number, x2: number, y2: number, more: Attributes) =>
  element("line", { x1, y1, x2, y2, ...more });

export const rectangle = (x: number, y: number, width: number, height: number, more: Attributes) =>
  element("rect", { x, y, width: Math.max(0, width), height, ...more });

/** A line of text; (x, y) is the begin of its base line. */
export const label = (x: number, y: number, text: string, more: Attributes = {}) =>
  element("text", { x, y, ...more }, escapeXml(text));

/** A whole picture on white. */
export function picture(width: number, height: number, parts: readonly string[]): string {
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  const font = { "font-family": "DejaVu Sans, Verdana, sans-serif", "font-size": 13 };
  const ground = rectangle(0, 0, width, height, { fill: "#ffffff" });
  const content = `\n${[ground, ...parts].join("\n")}\n`;
  return `${element("svg", { xmlns: "http://www.w3.org/2000/svg", ...size, ...font }, content)}\n`;
}

import manifest from "../../../package.json" with { type: "json" };
import { visibleLines } from "../../visible.ts";
import { type Child, Elements } from "./elements.ts";
import { style } from "./style.ts";

/**
 * Writes a self-contained page: no script, no file, no network, and a content security policy that forbids them. The same
 * content gives the same bytes.
 * @param document - an empty document
 * @param options - `images`: the page holds pictures in `data:` addresses
 */
export async function pageText(
  document: Document,
  title: string,
  content: (h: Elements) => readonly Child[],
  { images = false }: { readonly images?: boolean } = {},
): Promise<string> {
  const h = new Elements(document);
  const policy = `default-src 'none'; style-src 'sha256-${await sha256(style)}'${images ? "; img-src data:" : ""}; base-uri 'none'; form-action 'none'`;
  const root = h.make(
    "html",
    { lang: "en" },
    h.make(
      "head",
      {},
      h.make("meta", { charset: "utf-8" }),
      h.make("meta", { "http-equiv": "Content-Security-Policy", content: policy }),
      h.make("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
      h.make("meta", { name: "color-scheme", content: "light dark" }),
      h.make("meta", { name: "generator", content: `sorth-onnx ${manifest.version}` }),
      h.make("title", {}, plainTitle(title)),
      h.make("style", {}, style),
    ),
    h.make(
      "body",
      {},
      h.make("main", {}, h.make("h1", {}, title), ...content(h)),
      h.make("footer", {}, `sorth-onnx ${manifest.version}`),
    ),
  );
  // Names from files could turn the direction of what follows them.
  return `<!doctype html>\n${visibleLines(root.outerHTML)}\n`;
}

/** Replaces angle brackets: not every document escapes the text of a title when it is written. */
const plainTitle = (title: string): string => title.replaceAll("<", "‹").replaceAll(">", "›");

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

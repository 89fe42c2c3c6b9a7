import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** A link in a file. */
interface Link {
  /** The link as written in the file. */
  readonly written: string;
  /** Path relative to the file's folder; "" for the file itself. */
  readonly path: string;
  /** The part after `#`, or "". */
  readonly anchor: string;
}

/** Addresses of other hosts or schemes, which are not checked. */
const elsewhere = /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i;

function linkOf(written: string): Link | undefined {
  if (elsewhere.test(written)) return undefined;
  const [address = "", anchor = ""] = written.split("#");
  const [path = ""] = address.split("?");
  return { written, path: decodeURIComponent(path), anchor: decodeURIComponent(anchor) };
}

/** Every `href` and `src` of a page. */
const linksOfPage = (html: string): string[] =>
  [...html.matchAll(/\s(?:href|src)="([^"]*)"/g)].map(([, link = ""]) => link.replaceAll("&amp;", "&"));

/** Every link and image of a Markdown text, except in code. */
const linksOfMarkdown = (text: string): string[] =>
  [...text.replace(/```[\s\S]*?```|`[^`\n]*`/g, "").matchAll(/\]\(([^)\s]+)(?:\s"[^"]*")?\)/g)].map(
    ([, link = ""]) => link,
  );

/** The anchors that GitHub gives the headings of a Markdown text. */
const anchorsOfMarkdown = (text: string): Set<string> =>
  new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );

const anchorsOfPage = (html: string): Set<string> =>
  new Set([...html.matchAll(/\s(?:id|name)="([^"]*)"/g)].map(([, id = ""]) => id));

/** Whether the file of a link exists and contains the link's anchor. */
function leads(file: string, { path, anchor }: Link): boolean {
  const target = path === "" ? file : resolve(dirname(file), path);
  if (path.startsWith("/") || !existsSync(target)) return false;
  if (anchor === "" || statSync(target).isDirectory()) return true;
  if (target.endsWith(".md")) return anchorsOfMarkdown(readFileSync(target, "utf8")).has(anchor);
  if (target.endsWith(".html")) return anchorsOfPage(readFileSync(target, "utf8")).has(anchor);
  return true;
}

/**
 * Dead links of pages and Markdown files: links to a missing file or anchor, and links from the root of a host, which fail
 * on a site below another path. Links to other hosts are not checked.
 *
 * @returns `file → link` for each dead link
 */
export function deadLinks(files: readonly string[]): string[] {
  return files.flatMap((file) => {
    const text = readFileSync(file, "utf8");
    const written = file.endsWith(".md") ? linksOfMarkdown(text) : linksOfPage(text);
    return [...new Set(written)].flatMap((one) => {
      const link = linkOf(one);
      return !link || leads(file, link) ? [] : [`${relative(".", file)} → ${one}`];
    });
  });
}

/** Files with one of the given extensions in a folder and its subfolders. */
export const filesIn = (folder: string, ...endings: readonly string[]): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .map((name) => join(folder, name));

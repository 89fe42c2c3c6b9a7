import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** A place that a file leads to. */
interface Link {
  /** As it is written. */
  readonly written: string;
  /** A path from the file's folder, "" for the file itself. */
  readonly path: string;
  /** The part behind `#`, or "". */
  readonly anchor: string;
}

/** Addresses that are not of files: they are left to the network. */
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

/** Every link and picture of a Markdown text, code left aside. */
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

/** Whether a link leads to a file that is there, and to a place in it that is there. */
function leads(file: string, { path, anchor }: Link): boolean {
  const target = path === "" ? file : resolve(dirname(file), path);
  if (path.startsWith("/") || !existsSync(target)) return false;
  if (anchor === "" || statSync(target).isDirectory()) return true;
  if (target.endsWith(".md")) return anchorsOfMarkdown(readFileSync(target, "utf8")).has(anchor);
  if (target.endsWith(".html")) return anchorsOfPage(readFileSync(target, "utf8")).has(anchor);
  return true;
}

/**
 * Links of pages and Markdown files that lead nowhere: to a file or an anchor that is missing, or from the root of a host,
 * which a site below another path does not have. Links to other hosts are not followed.
 *
 * @returns `file → link`, one for each
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

/** Files of a folder and the folders in it with one of the endings. */
export const filesIn = (folder: string, ...endings: readonly string[]): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .map((name) => join(folder, name));

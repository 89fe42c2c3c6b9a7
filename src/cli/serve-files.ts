import { open, realpath, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";

const types: Readonly<Record<string, string>> = {
  ".css": "text/css;charset=utf-8",
  ".html": "text/html;charset=utf-8",
  ".js": "text/javascript;charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** The outcome of a request: the file was sent, is missing, or cannot be read. */
type Outcome = "sent" | "missing" | "unreadable";

/**
 * Sends a file of a folder. Always sends the whole file, even for a range request, and reads the disk for every request. A
 * client that disconnects causes no error and leaves no file open.
 * @param path - path of the address, with its query; `/` at its end stands for `index.html`
 */
export async function sendFile(
  folder: string,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Outcome> {
  const file = fileAt(folder, path);
  if (file === undefined) return "missing";
  let handle: Awaited<ReturnType<typeof open>>;
  let info: Awaited<ReturnType<typeof stat>>;
  try {
    // A symbolic link must not lead out of the folder.
    if (!(await realpath(file)).startsWith((await realpath(folder)) + sep)) return "missing";
    info = await stat(file);
    if (!info.isFile()) return "missing";
    handle = await open(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG" ? "missing" : "unreadable";
  }
  try {
    const tag = `W/"${info.size.toString(36)}-${Math.floor(info.mtimeMs).toString(36)}"`;
    response.setHeader("ETag", tag);
    response.setHeader("Cache-Control", "no-cache");
    if (request.headers["if-none-match"] === tag) {
      response.writeHead(304).end();
      return "sent";
    }
    response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
    response.setHeader("Content-Length", info.size);
    if (request.method === "HEAD") response.writeHead(200).end();
    // If the file shrinks or reading fails, close the connection, because the header stated the length.
    else
      await pipeline(
        handle.createReadStream({ autoClose: false, end: Math.max(0, info.size - 1) }),
        response,
      ).catch(() => response.destroy());
    return "sent";
  } finally {
    await handle.close();
  }
}

/** The path on disk; undefined unless it lies inside the folder. */
function fileAt(folder: string, address: string): string | undefined {
  let path: string;
  try {
    path = decodeURIComponent(address.replace(/[?#].*$/s, ""));
  } catch {
    return undefined;
  }
  if (!path.startsWith("/") || /[\0\\]/.test(path)) return undefined;
  const root = resolve(folder);
  const file = join(root, path.endsWith("/") ? `${path}index.html` : path);
  return file.startsWith(root + sep) ? file : undefined;
}

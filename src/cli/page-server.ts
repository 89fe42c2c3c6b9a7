import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { FileError, messageOf, type SorthError } from "../errors.ts";
import { pageHeaders } from "./page-headers.ts";
import { sendFile } from "./serve-files.ts";

/** Options of {@link servePage}. */
interface ServedPage {
  /** Folder of the built page. */
  readonly folder: string;
  /** Folder with MNIST's four files; if undefined, the digits in the page's folder are served. */
  readonly mnist: string | undefined;
  /** Port to listen on; 0 for any free one. */
  readonly port: number;
  /** Milliseconds that a client may take to send its request, and may leave an answer unread (default 15,000). */
  readonly patience?: number;
}

/** A running server. */
export interface PageServer {
  readonly url: string;
  /** Stops the server and closes open connections. */
  close(): Promise<void>;
}

/** Address of the digits; `data/index.json` tells the page whether they are available. */
const mnistPath = "/data/mnist/";
const indexPath = "/data/index.json";

/** Connections that may be open at a time; a browser opens six. */
const mostConnections = 128;

/** Host names by which a browser on this computer reaches the server. */
const ownNames = ["127.0.0.1", "localhost"];

/**
 * Serves the built page on the loopback interface, with the headers that WebAssembly threads need.
 * @throws SorthError when the port is taken or not allowed
 *
 * @example
 * const server = await servePage({ folder: "dist/page", mnist: undefined, port: 8642 });
 * console.log(server.url);
 * await server.close();
 */
export async function servePage({ folder, mnist, port, patience = 15_000 }: ServedPage): Promise<PageServer> {
  let served = port;
  // Clients that send slowly, or do not read what they asked for, are disconnected.
  const times = {
    headersTimeout: patience,
    requestTimeout: patience,
    connectionsCheckingInterval: patience / 3,
  };
  const server = createServer(times, (request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    for (const [name, value] of Object.entries(pageHeaders)) response.setHeader(name, value);
    const refuse = (status: number, text: string) => {
      // The rest of the request, which may be long, is not read.
      if (request.method !== "GET" && request.method !== "HEAD") response.setHeader("Connection", "close");
      response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(`${text}\n`);
    };
    // Reject DNS rebinding: a site whose name resolves to this address sends its own name as the host.
    if (!ownNames.some((name) => request.headers.host === `${name}:${served}`)) {
      return refuse(403, "this server answers to 127.0.0.1 and localhost only");
    }
    if (isOfAnotherSite(request)) return refuse(403, "this server answers its own page only");
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      return refuse(405, "only GET and HEAD");
    }
    const url = request.url ?? "/";
    if (mnist !== undefined && url === indexPath) return sendIndex(response, { suffix: "" });
    const digits = mnist !== undefined && url.startsWith(mnistPath);
    const outcome = digits
      ? await sendFile(mnist, url.slice(mnistPath.length - 1), request, response)
      : await sendFile(folder, url, request, response);
    if (outcome === "unreadable") refuse(500, "the file cannot be read");
    if (outcome !== "missing") return;
    // A page built without digits has no index file either.
    if (url === indexPath) sendIndex(response, null);
    else refuse(404, "there is no such file");
  };
  server.setTimeout(patience);
  server.maxConnections = mostConnections;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, port)));
    server.listen(port, "127.0.0.1", resolve);
  });
  served = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${served}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Whether a page of another origin asks, other than by a link that a user follows. Browsers say so in these headers. */
function isOfAnotherSite({ headers }: IncomingMessage): boolean {
  const { origin, host, "sec-fetch-site": site, "sec-fetch-mode": mode } = headers;
  if (origin !== undefined && origin !== `http://${host}`) return true;
  return (site === "cross-site" || site === "same-site") && mode !== "navigate";
}

/** Tells the page whether MNIST is available, and the suffix of its files. */
function sendIndex(response: ServerResponse, mnist: { suffix: string } | null): void {
  response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(JSON.stringify({ mnist }));
}

function cannotListen(error: NodeJS.ErrnoException, port: number): SorthError {
  if (error.code === "EADDRINUSE") {
    return new FileError(
      `port ${port} of 127.0.0.1 is taken; give another one (--port N, 0 for any free one)`,
    );
  }
  if (error.code === "EACCES") {
    return new FileError(`port ${port} is not allowed here; give one above 1023 (--port N)`);
  }
  return new FileError(`cannot serve on port ${port} of 127.0.0.1: ${messageOf(error)}`);
}

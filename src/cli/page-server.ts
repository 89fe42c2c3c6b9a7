import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import sirv from "sirv";
import { messageOf, SorthError } from "../errors.ts";
import { pageHeaders } from "./page-headers.ts";

/** What {@link servePage} serves. */
export interface ServedPage {
  /** Folder of the built page. */
  readonly folder: string;
  /** Folder with MNIST's four files; undefined to serve what the page's folder holds. */
  readonly mnist: string | undefined;
  /** 0 for any that is free. */
  readonly port: number;
}

/** A running server. */
export interface PageServer {
  readonly url: string;
  /** Ends it, open connections too. */
  close(): Promise<void>;
}

/** Where the page looks for digits; `data/index.json` says whether they are there. */
const mnistPath = "/data/mnist/";
const indexPath = "/data/index.json";

/**
 * Serves the built page on the loopback interface, with the headers that threads of WebAssembly need.
 * @throws SorthError when the port is taken or not allowed
 *
 * @example
 * const server = await servePage({ folder: "dist/page", mnist: undefined, port: 8642 });
 * console.log(server.url);
 * await server.close();
 */
export async function servePage({ folder, mnist, port }: ServedPage): Promise<PageServer> {
  // "dev" looks at the disk at every request: a page that is built again meanwhile is served as it is.
  const page = sirv(folder, { dev: true, etag: true });
  const digits = mnist === undefined ? undefined : sirv(mnist, { dev: true, etag: true });
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(pageHeaders)) response.setHeader(name, value);
    const refuse = (status: number, text: string) => {
      response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(`${text}\n`);
    };
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      refuse(405, "only GET and HEAD");
      return;
    }
    const notFound = () => {
      // A package without digits has no index of them either.
      if (request.url === indexPath) sendIndex(response, null);
      else refuse(404, "there is no such file");
    };
    if (digits && request.url === indexPath) sendIndex(response, { suffix: "" });
    else if (digits && request.url?.startsWith(mnistPath)) {
      digits(at(request, request.url.slice(mnistPath.length - 1)), response, notFound);
    } else page(request, response, notFound);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, port)));
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The same request for another path. */
function at(request: IncomingMessage, url: string): IncomingMessage {
  request.url = url;
  return request;
}

/** Says whether MNIST is there, and how its files' names end. */
function sendIndex(response: ServerResponse, mnist: { suffix: string } | null): void {
  response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(JSON.stringify({ mnist }));
}

function cannotListen(error: NodeJS.ErrnoException, port: number): SorthError {
  if (error.code === "EADDRINUSE") {
    return new SorthError(
      `port ${port} of 127.0.0.1 is taken; give another one (--port N, 0 for any free one)`,
    );
  }
  if (error.code === "EACCES") {
    return new SorthError(`port ${port} is not allowed here; give one above 1023 (--port N)`);
  }
  return new SorthError(`cannot serve on port ${port} of 127.0.0.1: ${messageOf(error)}`);
}

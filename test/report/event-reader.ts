import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Reader } from "protobufjs/minimal.js";

/** An event of a file, read without the code that writes it. */
export interface ReadEvent {
  readonly step: number;
  readonly seconds: number;
  readonly version?: string;
  readonly scalars: Readonly<Record<string, number>>;
  /** Names of plugins by tag. */
  readonly plugins: Readonly<Record<string, string>>;
}

/** CRC-32C bit by bit, from its definition: no table. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  const sum = (crc ^ 0xffffffff) >>> 0;
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

/**
 * The events of a file.
 * @param cutOff - whether the last one may be cut off, as a killed process leaves it
 * @throws Error for a checksum that is wrong, and for bytes left over
 */
export function readEvents(file: Uint8Array, { cutOff = false } = {}): ReadEvent[] {
  const events: ReadEvent[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (cutOff && at + 16 + length > file.length) break;
    const bytes = file.subarray(at + 12, at + 12 + length);
    if (view.getUint32(at + 8, true) !== checksum(file.subarray(at, at + 8))) throw new Error("length");
    if (view.getUint32(at + 12 + length, true) !== checksum(bytes)) throw new Error("content");
    events.push(eventOf(bytes));
    at += 16 + length;
  }
  return events;
}

/** The events of all files of a folder, in the order in which TensorBoard reads them. */
export const eventsIn = (folder: string, options?: { readonly cutOff?: boolean }): ReadEvent[] =>
  readdirSync(folder)
    .sort()
    .flatMap((name) => readEvents(readFileSync(join(folder, name)), options));

function eventOf(bytes: Uint8Array): ReadEvent {
  const event = {
    step: 0,
    seconds: 0,
    scalars: {} as Record<string, number>,
    plugins: {} as Record<string, string>,
  };
  let version: string | undefined;
  eachField(bytes, {
    1: (reader) => {
      event.seconds = reader.double();
    },
    2: (reader) => {
      event.step = Number(reader.int64());
    },
    3: (reader) => {
      version = reader.string();
    },
    5: (reader) =>
      eachField(reader.bytes(), {
        1: (summary) => {
          let [tag, plugin] = ["", ""];
          let scalar: number | undefined;
          eachField(summary.bytes(), {
            1: (value) => {
              tag = value.string();
            },
            2: (value) => {
              scalar = value.float();
            },
            9: (value) =>
              eachField(value.bytes(), {
                1: (metadata) =>
                  eachField(metadata.bytes(), {
                    1: (data) => {
                      plugin = data.string();
                    },
                    2: (data) => void data.bytes(),
                  }),
              }),
          });
          if (scalar !== undefined) event.scalars[tag] = scalar;
          else event.plugins[tag] = plugin;
        },
      }),
  });
  return { ...event, ...(version !== undefined && { version }) };
}

/** Calls what belongs to each field of a message. @throws Error for another field */
function eachField(bytes: Uint8Array, fields: Readonly<Record<number, (reader: Reader) => void>>): void {
  const reader = Reader.create(bytes);
  while (reader.pos < reader.len) {
    const field = reader.uint32() >>> 3;
    const read = fields[field];
    if (!read) throw new Error(`field ${field}`);
    read(reader);
  }
}

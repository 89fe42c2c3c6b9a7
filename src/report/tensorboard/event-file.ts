import protobuf from "protobufjs/light.js";
import { crcOf } from "../../onnx/crc32.ts";

/** A field of a message: its number, and its type. */
const field = (id: number, type: string, rest: { readonly rule?: "repeated" } = {}) => ({
  id,
  type,
  ...rest,
});
const mapOf = (id: number, type: string): protobuf.IMapField => ({ id, type, keyType: "string" });

// The parts of tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto and
// tensorboard/plugins/hparams/plugin_data.proto that are written here.
const messages = protobuf.Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: field(1, "double"),
        step: field(2, "int64"),
        fileVersion: field(3, "string"),
        summary: field(5, "Summary"),
      },
    },
    Summary: { fields: { value: field(1, "SummaryValue", { rule: "repeated" }) } },
    SummaryValue: {
      fields: { tag: field(1, "string"), simpleValue: field(2, "float"), metadata: field(9, "Metadata") },
      oneofs: { value: { oneof: ["simpleValue"] } },
    },
    Metadata: { fields: { pluginData: field(1, "PluginData") } },
    PluginData: { fields: { pluginName: field(1, "string"), content: field(2, "bytes") } },
    HParamsPluginData: { fields: { sessionStartInfo: field(3, "SessionStartInfo") } },
    SessionStartInfo: {
      fields: {
        hparams: mapOf(1, "Value"),
        groupName: field(4, "string"),
        startTimeSecs: field(5, "double"),
      },
    },
    Value: {
      fields: {
        numberValue: field(2, "double"),
        stringValue: field(3, "string"),
        boolValue: field(4, "bool"),
      },
      oneofs: { kind: { oneof: ["numberValue", "stringValue", "boolValue"] } },
    },
  },
});
const Event = messages.lookupType("Event");
const HParamsPluginData = messages.lookupType("HParamsPluginData");

/** Options of a run, for TensorBoard's table of runs. */
export type HyperParameters = Readonly<Record<string, number | string | boolean>>;

/** The record with which a file of events begins. @param seconds - since 1970 */
export const firstRecord = (seconds: number): Uint8Array =>
  record({ wallTime: seconds, fileVersion: "brain.Event:2" });

/** The record of a step's numbers, by tag. @param seconds - since 1970 */
export function scalarRecord(
  step: number,
  scalars: Iterable<readonly [tag: string, value: number]>,
  seconds: number,
): Uint8Array {
  const value = Array.from(scalars, ([tag, simpleValue]) => ({ tag, simpleValue }));
  return record({ wallTime: seconds, ...(step !== 0 && { step }), summary: { value } });
}

/** The record of a run's options. @param seconds - since 1970 */
export function hyperParameterRecord(hyperParameters: HyperParameters, seconds: number): Uint8Array {
  const typed = (value: number | string | boolean) =>
    typeof value === "number"
      ? { numberValue: value }
      : typeof value === "string"
        ? { stringValue: value }
        : { boolValue: value };
  const hparams = Object.fromEntries(
    Object.entries(hyperParameters).map(([name, value]) => [name, typed(value)]),
  );
  const content = HParamsPluginData.encode({
    sessionStartInfo: { hparams, startTimeSecs: seconds },
  }).finish();
  const metadata = { pluginData: { pluginName: "hparams", content } };
  return record({
    wallTime: seconds,
    summary: { value: [{ tag: "_hparams_/session_start_info", metadata }] },
  });
}

/** The last step of each tag in a file of events, as far as its records are whole. */
export function lastSteps(file: Uint8Array): Map<string, number> {
  const last = new Map<string, number>();
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  for (let at = 0; at + frame <= file.length; ) {
    const end = at + frame + Number(view.getBigUint64(at, true));
    if (view.getUint32(at + 8, true) !== masked(file.subarray(at, at + 8)) || end > file.length) break;
    const event = Event.decode(file.subarray(at + 12, end - 4)) as unknown as {
      readonly step?: number | { toNumber(): number };
      readonly summary?: { readonly value: readonly { readonly tag: string }[] };
    };
    const step = Number(event.step ?? 0);
    for (const { tag } of event.summary?.value ?? []) last.set(tag, Math.max(step, last.get(tag) ?? 0));
    at = end;
  }
  return last;
}

/** Bytes around a message: its length in 8, their checksum in 4, the message's checksum in 4. */
const frame = 16;

/** An event framed as TFRecord (tensorflow/core/lib/io/record_writer.h). */
function record(event: Readonly<Record<string, unknown>>): Uint8Array {
  const bytes = Event.encode(event).finish();
  const framed = new Uint8Array(bytes.length + frame);
  const view = new DataView(framed.buffer);
  view.setBigUint64(0, BigInt(bytes.length), true);
  view.setUint32(8, masked(framed.subarray(0, 8)), true);
  framed.set(bytes, 12);
  view.setUint32(12 + bytes.length, masked(bytes), true);
  return framed;
}

/** Castagnoli's checksum. */
const crc32c = crcOf(0x82f63b78);

/** A checksum as TFRecord has it, rotated and offset, because the bytes may hold checksums themselves. */
function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

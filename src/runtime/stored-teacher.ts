import { Murmur } from "../data/checksum.ts";
import { FileError, UsageError } from "../errors.ts";
import { tensorsOf } from "../onnx/external.ts";
import { inlineExternal } from "../onnx/inline-external.ts";
import { knowsFiles, type Model } from "../onnx/model.ts";
import { inParts } from "../onnx/stored.ts";
import { externalReference, Tensor } from "../onnx/tensor.ts";
import type { CheckpointFiles } from "./trainer-runtime.ts";

/** The folder of a run's copy of its teacher, whose external data may have the names of the model's. */
export const teacherFolder = (folder: string): string => `${folder}/teacher`;

const known = new WeakMap<Model, string>();

/** A checksum of a model's file and of its external data. */
export function checksumOf(model: Model): string {
  const checksum = known.get(model) ?? computed(model);
  known.set(model, checksum);
  return checksum;
}

function computed(given: Model): string {
  // The copy of a model whose files are not known holds its external data.
  const model = knowsFiles(given) ? given : inlineExternal(given);
  const hash = new Murmur();
  /** Bytes that do not fill a number yet. */
  let rest = new Uint8Array();
  const add = (bytes: Uint8Array) => {
    const all = new Uint8Array(rest.length + bytes.length);
    all.set(rest);
    all.set(bytes, rest.length);
    const whole = all.length - (all.length % 8);
    hash.add(new Float64Array(all.buffer, 0, whole / 8));
    rest = all.slice(whole);
  };
  for (const piece of model.pieces) for (const part of inParts(piece)) add(part);
  for (const tensor of tensorsOf(model.proto)) {
    if (externalReference(tensor)) add(Tensor.fromProto(tensor, model.external).bytes);
  }
  add(new Uint8Array(8 - (rest.length % 8)));
  hash.add(Float64Array.of(model.size));
  return hash.text;
}

/**
 * The teacher of a resumed run: the one that is given, else the copy in its folder.
 * @param checksum - that of the teacher with which the run was begun; undefined if it had none
 * @throws UsageError for another teacher; SorthError for a copy that is gone or was changed
 */
export async function storedTeacher(
  folder: string,
  checksum: string | undefined,
  given: Model | undefined,
  files: Pick<CheckpointFiles, "readModel">,
): Promise<Model | undefined> {
  if (checksum === undefined) {
    if (given) throw new UsageError("the run was begun without a teacher: leave the teacher out");
    return undefined;
  }
  if (given) {
    if (checksumOf(given) === checksum) return given;
    const file = given.path === undefined ? "the given teacher" : `the teacher "${given.path}"`;
    throw new UsageError(
      `${file} is another model than the one with which the run was begun: put that one back, or move this one away, and the run takes its own copy ("${teacherFolder(folder)}")`,
    );
  }
  const copy = await files.readModel(teacherFolder(folder));
  if (checksumOf(copy) === checksum) return copy;
  throw new FileError(
    `the run's copy of its teacher ("${teacherFolder(folder)}") was changed after it was written: copy the model with which the run was begun there as model.onnx`,
  );
}

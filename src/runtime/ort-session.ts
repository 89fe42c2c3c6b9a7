import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-common";
import { DataError, RuntimeError, SorthError } from "../errors.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { ortMessage } from "./ort-probe.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import type { Fed, ForwardSession, StepSessionOptions } from "./step-session.ts";

/** ONNX Runtime's options for a session that measures its operators. */
export const profiling = ({ profile }: StepSessionOptions): InferenceSession.SessionOptions =>
  profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile };

/** Opens a session. @throws SorthError with ONNX Runtime's message in one line */
export async function opened(session: Promise<InferenceSession>): Promise<InferenceSession> {
  try {
    return await session;
  } catch (error) {
    if (error instanceof SorthError) throw error;
    throw new RuntimeError(`ONNX Runtime refuses the graph: ${ortMessage(error)}`);
  }
}

/** What ONNX Runtime says of a token that an embedding has no row for. In a run of several steps, the node has a prefix. */
const outsideTable =
  /Gather node\. Name:'(?:step\/loop\/)?([^']*)' Status Message: indices element out of data bounds, idx=(-?\d+) must be within the inclusive range \[-?\d+,(\d+)\]/;

/** What to do about messages of ONNX Runtime that do not say what they mean. */
const advices: readonly (readonly [RegExp, string])[] = [
  [
    /seqlens_k\[\d+\] = -1/,
    "a sample has no token that its attention_mask counts, and GroupQueryAttention takes none such; leave it out of the data",
  ],
];

/**
 * Runs a session.
 * @param fetches - outputs to compute, each with a tensor to write to, or null to let ONNX Runtime allocate one
 * @throws SorthError with ONNX Runtime's message in one line */
export async function runSession(
  session: InferenceSession,
  feeds: Record<string, OrtTensor>,
  fetches?: Record<string, OrtTensor | null>,
): Promise<Record<string, OrtTensor>> {
  try {
    return (await (fetches ? session.run(feeds, fetches) : session.run(feeds))) as Record<string, OrtTensor>;
  } catch (error) {
    if (error instanceof SorthError) throw error;
    const message = ortMessage(error);
    const [, at, row, rows] = outsideTable.exec(message) ?? [];
    if (rows !== undefined) {
      throw new DataError(
        `the data hold the number ${row}, and the table in which "${at}" looks it up has its last row at ${rows}: use the tokenizer of the model, or number from 0`,
      );
    }
    const advice = advices.find(([pattern]) => pattern.test(message))?.[1];
    throw new RuntimeError(
      `ONNX Runtime cannot run the graph: ${message}${advice === undefined ? "" : `: ${advice}`}`,
    );
  }
}

/** @throws SorthError when a tensor has another type or shape than the one it replaces */
export function checkReplaces(from: Tensor, to: Pick<Tensor, "name" | "type" | "dims">): void {
  if (from.type === to.type && from.size === elementCount(to.dims)) return;
  throw new RuntimeError(
    `"${to.name}" is ${to.type}[${to.dims}]: ${from.type}[${from.dims}] cannot replace it`,
  );
}

/** A {@link ForwardSession} on any build of ONNX Runtime. */
export class OrtForwardSession implements ForwardSession {
  readonly #session: InferenceSession;
  readonly #fed: (name: string, tensor: Tensor) => Tensor;

  /** @param fed - the tensor to feed in place of one */
  constructor(session: InferenceSession, fed = (_: string, tensor: Tensor) => tensor) {
    this.#session = session;
    this.#fed = fed;
  }

  async run(feeds: ReadonlyMap<string, Fed>): Promise<ReadonlyMap<string, Tensor>> {
    const known = new Set(this.#session.inputNames);
    const inputs = [...feeds]
      .filter(([name]) => known.has(name))
      .map(
        ([name, tensor]) =>
          [name, tensor instanceof Tensor ? toOrtTensor(this.#fed(name, tensor)) : tensor] as const,
      );
    const results = await runSession(this.#session, Object.fromEntries(inputs));
    return new Map(
      Object.entries(results).map(([name, value]) => [name, fromOrtTensor(name, value as OrtTensor)]),
    );
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

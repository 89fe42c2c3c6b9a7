/** What a client hands out after a round: numbers of the model, and how many samples they were trained on. No data. */
export interface Update {
  readonly samples: number;
  readonly parameters: Float32Array;
}

/** A participant, wherever it is: bytes of the shared parameters in, bytes of its update out. A fetch or a socket fits here. */
export type Client = (round: number, parameters: Uint8Array) => Promise<Uint8Array>;

/** An update as bytes: the number of samples (4 bytes), then the parameters. Typed arrays are little-endian on every platform of ONNX Runtime. */
export function toBytes({ samples, parameters }: Update): Uint8Array {
  const bytes = new Uint8Array(4 + parameters.byteLength);
  new DataView(bytes.buffer).setUint32(0, samples, true);
  bytes.set(new Uint8Array(parameters.buffer, parameters.byteOffset, parameters.byteLength), 4);
  return bytes;
}

/** The same back. @throws Error for bytes that are no update */
export function fromBytes(bytes: Uint8Array): Update {
  if (bytes.byteLength < 4 || bytes.byteLength % 4 !== 0) throw new Error("these bytes are no update");
  // A copy, since a Float32Array must begin at a multiple of 4 in its memory.
  const copy = bytes.slice();
  return {
    samples: new DataView(copy.buffer).getUint32(0, true),
    parameters: new Float32Array(copy.buffer, 4),
  };
}

/** Federated averaging (arXiv 1602.05629): the mean of the parameters, each client weighted by its samples. */
export function averaged(updates: readonly Update[]): Float32Array {
  const [first] = updates;
  const all = updates.reduce((sum, { samples }) => sum + samples, 0);
  if (!first || all === 0) throw new Error("no client has trained");
  // Sums in float64: the order of the clients then hardly shows.
  const sums = new Float64Array(first.parameters.length);
  for (const { samples, parameters } of updates) {
    if (parameters.length !== sums.length) throw new Error("the clients train different models");
    for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) + (parameters[i] ?? 0) * (samples / all);
  }
  return Float32Array.from(sums);
}

/** The server: sends the parameters to all clients, averages what returns. Yields the parameters after each round. */
export async function* federate(
  clients: readonly Client[],
  start: Float32Array,
  rounds: number,
): AsyncGenerator<{ readonly round: number; readonly parameters: Float32Array }> {
  let parameters = start;
  for (let round = 1; round <= rounds; round++) {
    const message = toBytes({ samples: 0, parameters });
    const answers = await Promise.all(clients.map((client) => client(round, message)));
    parameters = averaged(answers.map(fromBytes));
    yield { round, parameters };
  }
}

/** The part of a trainer that a client needs; that of sorth-onnx and of sorth-onnx/web both fit. */
interface ClientTrainer<Data> {
  setParameters(vector: Float32Array, options: { readonly optimizer: "reset" }): Promise<void>;
  fit(data: Data, options: { readonly epochs: number }): AsyncIterable<unknown>;
  parameters(options: {
    readonly flat: true;
    readonly statistics: true;
  }): Promise<Float32Array | Float64Array>;
}

/** A client: one pass over its own data a round, from the shared parameters, with an optimizer that begins again. */
export function clientOf<Data extends { readonly size: number }>(
  trainer: ClientTrainer<Data>,
  data: Data,
): Client {
  return async (round, bytes) => {
    await trainer.setParameters(fromBytes(bytes).parameters, { optimizer: "reset" });
    // The epochs of all rounds: the trainer has done those of the earlier ones, and shuffles each differently.
    for await (const _ of trainer.fit(data, { epochs: round }));
    const parameters = Float32Array.from(await trainer.parameters({ flat: true, statistics: true }));
    return toBytes({ samples: data.size, parameters });
  };
}

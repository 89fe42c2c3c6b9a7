import type { Dataset } from "./dataset.ts";
import type { GeneratorOptions, SampleGenerator } from "./generator-dataset.ts";

/** Functions of the library for samples that code makes. */
export interface GeneratorFunctions {
  /**
   * A dataset whose samples a generator makes, one after another (`function*` or `async function*`), as `Dataset.from_generator` of
   * TensorFlow. It is called for each pass, holds one batch in memory, and makes the next one while a step computes.
   * Samples are used in the order in which they come: shuffle in the generator, by `pass.epoch`. For the same pass it must
   * yield the same samples, so that a resumed run, which skips those that it has seen, goes on with the same bits.
   *
   * Samples are copied as they come, so the generator may reuse its arrays. An error that it throws ends the run before the
   * step that needs the sample, and reaches the caller unchanged; so does the error for too few samples. A pass that is not read to its end
   * is ended with `return`, so that the generator's `finally` runs.
   *
   * @throws UsageError unless the size is a whole number above 0; DataError for a generator without a sample
   *
   * @param generate - called for each pass
   * @param options - the number of samples of a pass, shapes, classes
   * @example
   * import { generatorDataset } from "sorth-onnx";
   *
   * const data = await generatorDataset(
   *   function* (pass) {
   *     for (let i = 0; i < 1000; i++) yield { x: Float32Array.of(i % 2, pass?.epoch ?? 0), y: i % 2 };
   *   },
   *   { size: 1000, classes: 2 },
   * );
   * console.log(data.x.shape); // [2]
   */
  generatorDataset(generate: SampleGenerator, options: GeneratorOptions): Promise<Dataset>;
}

/** A command line that works as it is written, and what it does. */
export interface CommandExample {
  readonly line: string;
  readonly does: string;
}

const example = (line: string, does: string): CommandExample => ({ line: `sorth-onnx ${line}`, does });

/** Examples of every command, for its help and for docs/cli.md. A test runs each of them. */
export const commandExamples: Readonly<Record<string, readonly CommandExample[]>> = {
  inspect: [
    example("inspect model.onnx", "layers, penalties that apply, parameters, advice"),
    example("inspect model.onnx --freeze '^fc1' --json", "the same for a program, with layers frozen"),
  ],
  inject: [
    example("inject model.onnx", "writes model.sorth.onnx with the output sorth_penalty"),
    example(
      'inject model.onnx --penalty so --penalty "som:weight=0.05" -o two.onnx',
      "two penalties, each with its weight",
    ),
    example(
      "inject model.onnx --objective cross-entropy -o loss.onnx",
      "also a loss: input labels, output loss",
    ),
  ],
  strip: [example("strip model.sorth.onnx", "writes model.stripped.onnx: the original, byte for byte")],
  verify: [
    example("verify model.sorth.onnx", "against the original that the file gives back"),
    example("verify model.onnx model.sorth.onnx --json", "against a file, the report for a program"),
  ],
  grad: [
    example(
      "grad model.onnx --objective cross-entropy --batch 32",
      "writes model.grad.onnx: the loss and <parameter>_grad",
    ),
    example(
      "grad model.onnx --objective mse --batch 1 --wrt-inputs . -o saliency.onnx",
      "gradients of the inputs too",
    ),
  ],
  step: [
    example(
      "step model.onnx --objective cross-entropy --batch 32",
      "a step as one graph, and its first state",
    ),
    example(
      "step model.onnx --objective cross-entropy --batch 32 --split -o split.onnx",
      "two graphs, with an all-reduce between them",
    ),
  ],
  artifacts: [
    example(
      "artifacts model.onnx --objective cross-entropy -o artifacts",
      "the four files of ONNX Runtime's training API",
    ),
  ],
  train: [
    example("train model.onnx --data mnist --epochs 3", "trains with SOM, writes model.trained.onnx"),
    example("train model.onnx --data data.npz --penalty none -o plain.onnx", "the same without a penalty"),
    example(
      "train model.onnx --data data.npz --optimizer sgd --momentum 0.9 --lr 0.05 --schedule cosine:warmup=20 -o sgd.onnx",
      "another optimizer, with a schedule by steps",
    ),
    example(
      "train model.onnx --data data.npz --validation 0.1 --epochs 5 -o held-out.onnx",
      "a tenth of the samples held out",
    ),
  ],
  export: [example("export held-out.run --from best -o best.onnx", "the model of a run's best epoch")],
  angles: [
    example("angles model.onnx model.trained.onnx", "weight angles of both, side by side"),
    example(
      "angles model.trained.onnx --data mnist --html angles.html",
      "response angles too, with figures on a page",
    ),
  ],
  demo: [example("demo", "prints the address of the page")],
};

/** The examples of a command as the last part of its help. */
export function examplesText(name: string): string {
  const shown = commandExamples[name] ?? [];
  return ["", "Examples:", ...shown.flatMap(({ line, does }) => [`  # ${does}`, `  ${line}`])].join("\n");
}

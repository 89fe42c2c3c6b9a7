/** A working command line, and what it does. */
interface CommandExample {
  readonly line: string;
  readonly does: string;
}

const example = (line: string, does: string): CommandExample => ({ line: `sorth-onnx ${line}`, does });

/** Examples of every command, for its help and for docs/cli.md. A test runs all of them. */
export const commandExamples: Readonly<Record<string, readonly CommandExample[]>> = {
  inspect: [
    example("inspect model.onnx", "layers, penalties that apply, parameters, advice"),
    example("inspect model.onnx --freeze '^fc1' --json", "the same as JSON, with the layer fc1 frozen"),
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
    example("verify model.sorth.onnx", "compares with the original, which strip restores from the file"),
    example("verify model.onnx model.sorth.onnx --json", "compares with another file and reports as JSON"),
  ],
  head: [
    example(
      "head model.onnx --classes 3",
      "writes model.head.onnx, whose last layer is a fresh one of three units",
    ),
    example(
      "head model.onnx --classes cat,dog,fox -o pets.onnx",
      "the same with names, which predict writes",
    ),
  ],
  "free-batch": [
    example(
      "free-batch single.onnx",
      "writes single.batch.onnx, checked on three samples, for train --batch 32",
    ),
  ],
  merge: [
    example(
      "merge model.onnx --adapter adapter.safetensors",
      "writes model.merged.onnx: the same file, other weights",
    ),
    example(
      "merge model.onnx --adapter first:0.5 --adapter second:0.5 -o both.onnx",
      "half of each of two adapters",
    ),
  ],
  tap: [
    example("tap model.onnx --include relu1", "writes model.tapped.onnx, whose outputs include relu1"),
    example(
      "tap model.onnx --op '^(Relu|MatMul)$' --exclude '^logits' -o inside.onnx",
      "every result of these operators",
    ),
    example("tap model.onnx --list", "the names that a pattern may match"),
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
    example(
      "grad model.onnx --vjp --batch 1 --wrt '^(x|relu1)$' -o vjp.onnx",
      "gradients of an input and of an inner value, from an input logits_seed",
    ),
    example(
      "grad model.onnx --jacobian --batch 1 --wrt '^x$' -o jacobian.onnx",
      "every derivative of the outputs by the input",
    ),
  ],
  step: [
    example(
      "step model.onnx --objective cross-entropy --batch 32",
      "a step as one graph, and a model that computes its initial state",
    ),
    example(
      "step model.onnx --objective cross-entropy --batch 32 --split -o split.onnx",
      "a step as two graphs, for an all-reduce of the gradients in between",
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
      "another optimizer and a learning-rate schedule",
    ),
    example(
      "train model.onnx --data data.npz --validation 0.1 --epochs 5 -o held-out.onnx",
      "holds out a tenth of the samples for validation",
    ),
  ],
  distribute: [
    example(
      "distribute model.onnx -o shared --workers 2",
      "writes a run that two processes share with torchrun",
    ),
  ],
  "find-lr": [
    example("find-lr model.onnx --data mnist", "suggests a learning rate for train"),
    example(
      "find-lr model.onnx --data data.npz --optimizer sgd --momentum 0.9 --max 1 --html rates.html",
      "for another optimizer, with the curve as a page",
    ),
  ],
  export: [example("export held-out.run --from best -o best.onnx", "the model of a run's best epoch")],
  evaluate: [
    example("evaluate model.onnx --data mnist", "loss, accuracy, figures of each class, confusion matrix"),
    example("evaluate model.onnx --data data.npz --json", "all figures as JSON"),
    example(
      "evaluate model.onnx --data data.npz --html evaluation.html",
      "a page with the samples of the highest loss",
    ),
  ],
  predict: [
    example(
      "predict model.onnx --data mnist -o answers.csv",
      "the class and the probabilities of every sample",
    ),
  ],
  angles: [
    example("angles model.onnx model.trained.onnx", "weight angles of both, side by side"),
    example(
      "angles model.trained.onnx --data mnist --html angles.html",
      "also response angles, with charts on a page",
    ),
  ],
  bench: [
    example("bench model.onnx --backend cpu --round-time 20", "time of a step, plain and with SOM"),
    example(
      "bench model.onnx --backend cpu --penalty so --rounds 3 --round-time 20 --profile --json",
      "another penalty, and the time of each operator",
    ),
  ],
  demo: [example("demo", "prints the address of the page")],
};

/** The examples of a command, for the end of its help. */
export function examplesText(name: string): string {
  const shown = commandExamples[name] ?? [];
  return ["", "Examples:", ...shown.flatMap(({ line, does }) => [`  # ${does}`, `  ${line}`])].join("\n");
}

/** One line about each loss, by name, for documents. */
export const objectiveSummaries: Readonly<Record<string, string>> = {
  "cross-entropy": "classes: softmax of the scores against class labels or probabilities, as torch's",
  mse: "numbers: mean of squared differences",
  l1: "numbers: mean of absolute differences",
  bce: "labels from 0 to 1, each number on its own (several labels a sample): sigmoid",
  "binary-focal": "the same, with well-classified examples weighted down (arXiv 1708.02002)",
  huber: "numbers: squared up to delta, linear above, as torch's HuberLoss",
  "smooth-l1": "numbers: squared up to beta, linear above, as torch's SmoothL1Loss",
  cosine: "embeddings: 1 − the cosine between prediction and label",
  kl: "probabilities of classes: their divergence from the softmax of the scores, as torch's KLDivLoss",
  distillation:
    "divergence from a teacher's softened probabilities (arXiv 1503.02531): from those of `--teacher`, or of scores that are labels",
  "causal-lm": "language models: each token from those before it, as in Hugging Face's libraries",
  "masked-lm": "language models: masked tokens from those around them (arXiv 1810.04805)",
  contrastive:
    "embeddings: each anchor finds its positive among those of the batch (InfoNCE), or the samples of its class",
  "info-nce": "the same as contrastive",
  triplet: "embeddings: a positive nearer than a negative by a margin, as torch's TripletMarginLoss",
  "cosine-similarity": "pairs of embeddings with a score: squared difference of cosine and score",
};

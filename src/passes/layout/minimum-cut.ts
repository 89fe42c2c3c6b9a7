/** A network of capacities between a source and a sink. */
export class Network {
  readonly #heads: number[][] = [];
  readonly #to: number[] = [];
  readonly #rest: number[] = [];

  /** The node that every cut keeps on its own side. */
  readonly source: number;
  /** The node on the other side of every cut. */
  readonly sink: number;

  constructor() {
    this.source = this.add();
    this.sink = this.add();
  }

  /** Adds a node. */
  add(): number {
    return this.#heads.push([]) - 1;
  }

  /** Adds the cost of a cut that leaves `from` on the source's side and `to` on the sink's. @throws RangeError if it is negative */
  connect(from: number, to: number, cost: number): void {
    if (!(cost >= 0)) throw new RangeError(`the cost of a cut is ${cost}; it must not be negative`);
    if (cost === 0 || from === to) return;
    this.#heads[from]?.push(this.#to.push(to) - 1);
    this.#rest.push(cost);
    this.#heads[to]?.push(this.#to.push(from) - 1);
    this.#rest.push(0);
  }

  /**
   * The cheapest cut, by augmenting paths in order of length (Dinic 1970). Among equally cheap cuts it is the one with the
   * fewest nodes on the sink's side.
   * @returns whether each node is on the sink's side
   */
  minimumCut(): boolean[] {
    for (;;) {
      const level = this.#levels();
      if (level[this.sink] === -1) break;
      const next = this.#heads.map(() => 0);
      while (this.#augment(level, next));
    }
    return this.#reachSink();
  }

  /** The number of edges from the source to each node over edges that are not full; −1 if there is no way. */
  #levels(): number[] {
    const level = this.#heads.map(() => -1);
    level[this.source] = 0;
    const queue = [this.source];
    for (const node of queue) {
      for (const edge of this.#heads[node] ?? []) {
        const to = this.#to[edge] as number;
        if ((this.#rest[edge] as number) <= 0 || level[to] !== -1) continue;
        level[to] = (level[node] as number) + 1;
        queue.push(to);
      }
    }
    return level;
  }

  /** Sends flow along one shortest path. @returns whether there was one */
  #augment(level: readonly number[], next: number[]): boolean {
    const path: number[] = [];
    let node = this.source;
    while (node !== this.sink) {
      const edges = this.#heads[node] as number[];
      const edge = edges[next[node] as number];
      if (edge === undefined) {
        if (node === this.source) return false;
        const back = path.pop() as number;
        node = this.#to[back ^ 1] as number;
        next[node] = (next[node] as number) + 1;
        continue;
      }
      const to = this.#to[edge] as number;
      if ((this.#rest[edge] as number) > 0 && level[to] === (level[node] as number) + 1) {
        path.push(edge);
        node = to;
      } else {
        next[node] = (next[node] as number) + 1;
      }
    }
    const flow = Math.min(...path.map((edge) => this.#rest[edge] as number));
    for (const edge of path) {
      this.#rest[edge] = (this.#rest[edge] as number) - flow;
      this.#rest[edge ^ 1] = (this.#rest[edge ^ 1] as number) + flow;
    }
    return true;
  }

  /** Whether each node still has a way to the sink. */
  #reachSink(): boolean[] {
    const reaches = this.#heads.map(() => false);
    reaches[this.sink] = true;
    const queue = [this.sink];
    for (const node of queue) {
      for (const edge of this.#heads[node] ?? []) {
        const from = this.#to[edge] as number;
        if ((this.#rest[edge ^ 1] as number) <= 0 || reaches[from]) continue;
        reaches[from] = true;
        queue.push(from);
      }
    }
    return reaches;
  }
}

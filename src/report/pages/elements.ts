/** What an element may hold; nothing where a part is missing. */
export type Child = Element | string | undefined;

/** Makes HTML elements of a document. Text is always text: names from a model cannot become markup. */
export class Elements {
  readonly document: Document;

  constructor(document: Document) {
    this.document = document;
  }

  /** An element with attributes and content. */
  make(name: string, attributes: Readonly<Record<string, string>>, ...children: readonly Child[]): Element {
    const made = this.document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    for (const child of children) if (child !== undefined) made.append(child);
    return made;
  }

  paragraph(...children: readonly Child[]): Element {
    return this.make("p", {}, ...children);
  }

  /** A section with its heading; `level` is that of the heading. */
  section(id: string, level: 2 | 3, title: string, ...children: readonly Child[]): Element {
    return this.make("section", { id }, this.make(`h${level}`, {}, title), ...children);
  }

  list(items: readonly Child[]): Element | undefined {
    return items.length === 0
      ? undefined
      : this.make("ul", {}, ...items.map((item) => this.make("li", {}, item)));
  }

  /** A figure: its title, what the colours mean, the picture, and what it says in words. */
  figure(title: string, picture: Element, options: FigureOptions = {}): Element {
    const { legend, text, wide } = options;
    return this.make(
      "figure",
      wide ? { class: "wide" } : {},
      this.make("figcaption", {}, this.make("strong", {}, title), legend),
      picture,
      text === undefined ? undefined : this.make("p", { class: "words" }, text),
    );
  }

  /** Figures beside each other where there is room. */
  figures(...items: readonly Child[]): Element {
    return this.make("div", { class: "figures" }, ...items);
  }

  /** What the colours of a figure mean; nothing for a single series. */
  legend(entries: readonly { readonly name: string; readonly color?: number }[]): Element | undefined {
    if (entries.length < 2) return undefined;
    return this.make(
      "span",
      { class: "legend" },
      ...entries.map(({ name, color }) =>
        this.make(
          "span",
          {},
          this.make("span", { class: color === undefined ? "swatch dashed" : `swatch s${(color % 6) + 1}` }),
          name,
        ),
      ),
    );
  }

  /** A table that scrolls by itself where it is too wide. The first column names its row; others are numbers. */
  table(caption: string, headings: readonly TableHeading[], rows: readonly (readonly string[])[]): Element {
    const head = headings.map(({ text, meaning, kind = "number" }) =>
      this.make("th", { scope: "col", class: kind, ...(meaning !== undefined && { title: meaning }) }, text),
    );
    const body = rows.map((row) =>
      this.make(
        "tr",
        {},
        ...row.map((cell, column) => {
          const kind = headings[column]?.kind ?? "number";
          const name = column === 0 ? "th" : "td";
          return this.make(name, { ...(column === 0 && { scope: "row" }), class: kind }, cell);
        }),
      ),
    );
    const table = this.make(
      "table",
      {},
      this.make("caption", {}, caption),
      this.make("thead", {}, this.make("tr", {}, ...head)),
      this.make("tbody", {}, ...body),
    );
    return this.make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, table);
  }

  /** Something that is shown when its title is chosen, and always in print. */
  details(title: string, ...children: readonly Child[]): Element {
    return this.make("details", {}, this.make("summary", {}, title), ...children);
  }
}

/** What belongs to a figure besides its picture. */
export interface FigureOptions {
  readonly legend?: Element | undefined;
  /** What it says in words. */
  readonly text?: Child;
  /** Takes the room of two where there is enough. */
  readonly wide?: boolean;
}

/** The heading of a column. */
export interface TableHeading {
  readonly text: string;
  /** Shown when it is pointed at. */
  readonly meaning?: string;
  /** Default: numbers. */
  readonly kind?: "text" | "number";
}

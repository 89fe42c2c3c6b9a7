/** Content of an element; undefined for a missing part. */
export type Child = Element | string | undefined;

/** Makes HTML elements of a document. Text always stays text: names from a model cannot become markup. */
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

  /** Lines about what the page shows. */
  facts(...lines: readonly string[]): Element[] {
    return lines.map((line) => this.make("p", { class: "facts" }, line));
  }

  /** Figures with their names. */
  figureList(figures: readonly (readonly [name: string, value: string])[]): Element {
    const items = figures.map(([name, value]) => [this.make("dt", {}, name), this.make("dd", {}, value)]);
    return this.make("dl", {}, ...items.map((item) => this.make("div", {}, ...item)));
  }

  /** A section with its heading. */
  section(id: string, title: string, ...children: readonly Child[]): Element {
    return this.make("section", { id }, this.make("h2", {}, title), ...children);
  }

  list(items: readonly Child[]): Element | undefined {
    return items.length === 0
      ? undefined
      : this.make("ul", {}, ...items.map((item) => this.make("li", {}, item)));
  }

  /** A figure: its title, its legend, the picture, and its description. */
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

  /** Figures side by side, where the page is wide enough. */
  figures(...items: readonly Child[]): Element {
    return this.make("div", { class: "figures" }, ...items);
  }

  /** The legend of a figure; undefined for a single series. */
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

  /** A table that scrolls on its own if it is too wide. The first column names the row; the others are numbers. */
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

  /** Content that is shown after a click on its title, and always in print. */
  details(title: string, ...children: readonly Child[]): Element {
    return this.make("details", {}, this.make("summary", {}, title), ...children);
  }
}

/** Parts of a figure besides its picture. */
interface FigureOptions {
  readonly legend?: Element | undefined;
  /** The description. */
  readonly text?: Child;
  /** Takes the width of two figures, where the page is wide enough. */
  readonly wide?: boolean;
}

/** The heading of a column. */
interface TableHeading {
  readonly text: string;
  /** Shown when the pointer is over the heading. */
  readonly meaning?: string;
  /** Kind of the cells; default: numbers. */
  readonly kind?: "text" | "number";
}

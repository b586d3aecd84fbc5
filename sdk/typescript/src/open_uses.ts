/** Finds the uses of this process that are under way, so that a revocation ends them at once. */

/** What is known here about a use. */
export interface OpenUse {
  readonly grantId: string;
  /** Ends the use: its block is empty from now on. */
  end(reason: string): void;
}

/** The uses that are not closed yet. A use that its owner forgot does not stay in memory. */
export class OpenUses {
  readonly #uses = new Set<WeakRef<OpenUse>>();

  /** Adds a use that has begun. Returns the function that removes it. */
  add(use: OpenUse): () => void {
    const reference = new WeakRef(use);
    this.#uses.add(reference);
    return () => this.#uses.delete(reference);
  }

  /** Ends the uses of these grants. */
  revoked(grants: readonly string[], reason: string): void {
    if (grants.length === 0) return;
    this.#each((use) => {
      if (grants.includes(use.grantId)) use.end(reason);
    });
  }

  /** Ends all uses. */
  suspended(reason: string): void {
    this.#each((use) => {
      use.end(reason);
    });
  }

  #each(act: (use: OpenUse) => void): void {
    for (const reference of this.#uses) {
      const use = reference.deref();
      if (use === undefined) this.#uses.delete(reference);
      else act(use);
    }
  }
}

/** A mistake that the person at the terminal can mend: what it is, and what to do next. Exit status 1. */
export class UserError extends Error {
  override name = 'UserError';
  next: string | undefined;
  constructor(message: string, next?: string) {
    super(message);
    this.next = next;
  }
}

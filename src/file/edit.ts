import { isScalar, parseDocument } from 'yaml';

/** The file's text with one value of a service replaced, all else as it was. The text must have been read without a mistake before. */
export function withValue(text: string, service: string, path: string[], value: string): string {
  const document = parseDocument(text);
  const whole = ['services', service, ...path];
  // `timing: fast`, where timing.nodeTimeout is meant: the word gives way to keys.
  for (let n = 3; n < whole.length; n++)
    if (isScalar(document.getIn(whole.slice(0, n), true))) document.deleteIn(whole.slice(0, n));
  document.setIn(whole, value);
  return document.toString();
}

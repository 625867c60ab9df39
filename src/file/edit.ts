import { parseDocument } from 'yaml';

/** The file's text with one value of a service replaced, all else as it was. The text must have been read without a mistake before. */
export function withValue(text: string, service: string, path: string[], value: string): string {
  const document = parseDocument(text);
  document.setIn(['services', service, ...path], value);
  return document.toString();
}

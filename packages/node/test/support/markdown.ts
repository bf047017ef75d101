/** The programs, tables, links and headings of a Markdown page. */

import { readFileSync } from 'node:fs';

/** A fenced block of TypeScript. */
export interface Program {
  /** The page and the line of the fence, for messages. */
  readonly place: string;
  readonly code: string;
  /** The expected output: the ```text block after a block marked `run`. Undefined for a block that is only compiled. */
  readonly prints: string | undefined;
}

const FENCE = /^```(\S*)[ ]?(.*)\n([\s\S]*?)^```$/gm;

/** Returns the TypeScript blocks of a page, in order. A block marked `run` must have its output after it. */
export function programsOf(page: URL): Program[] {
  const text = readFileSync(page, 'utf8');
  const name = page.pathname.split('/').slice(-2).join('/');
  const blocks = [...text.matchAll(FENCE)].map(([, language = '', mark = '', code = ''], index, all) => ({
    language,
    mark,
    code,
    place: `${name}:${text.slice(0, all[index]?.index).split('\n').length}`,
  }));
  return blocks.flatMap(({ language, mark, code, place }, index): Program[] => {
    if (language !== 'ts') return [];
    if (mark === '') return [{ place, code, prints: undefined }];
    const output = blocks[index + 1];
    if (mark !== 'run' || output?.language !== 'text') throw new Error(`${place}: "ts run" must be followed by a block of text`);
    return [{ place, code, prints: output.code }];
  });
}

/** Returns the rows of all tables of a page whose first column has this title, without `code` marks. Cells may contain `\|`. */
export function rowsOf(page: URL, title: string): string[][] {
  const rows = readFileSync(page, 'utf8')
    .split('\n')
    .map((line) =>
      line.startsWith('|')
        ? line
            .split(/(?<!\\)\|/)
            .slice(1, -1)
            .map((cell) => cell.trim().replaceAll('`', ''))
        : undefined,
    );
  const found: string[][] = [];
  let inside = false;
  for (const [index, row] of rows.entries()) {
    if (row === undefined) inside = false;
    else if (inside && !/^-+$/.test(row[0] ?? '')) found.push(row);
    else if (rows[index - 1] === undefined && row[0] === title) inside = true;
  }
  return found;
}

/** Returns the links of a page into this repository, each with its target and its heading, if it names one. */
export function linksOf(page: URL): { readonly target: URL; readonly heading: string | undefined }[] {
  const text = readFileSync(page, 'utf8').replace(FENCE, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !link.startsWith('https://'))
    .map((link) => {
      const target = new URL(link, page);
      const heading = target.hash === '' ? undefined : decodeURIComponent(target.hash.slice(1));
      target.hash = '';
      return { target, heading };
    });
}

/** Returns the headings of a page as links name them. */
export function headingsOf(page: URL): string[] {
  const text = readFileSync(page, 'utf8').replace(FENCE, '');
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

import { Document, isMap, isSeq, Scalar, type YAMLMap } from 'yaml';
import type { Draft } from './draft.ts';
import type { Note } from './model.ts';

/** Answers TCP (as HTTP) and UDP on its port with its name: what stands in for the user's own servers in the lab. */
const standIn = `node -e "const{PORT:p,ADDRESS:a,MEMBER:m}=process.env;require('http').createServer((q,r)=>r.end(m+'\\n')).listen(p,a);const u=require('dgram').createSocket(a.includes(':')?'udp6':'udp4');u.on('message',(d,f)=>u.send(m,f.port,f.address));u.bind(p,a)"`;
/** Runs nothing: on real machines the servers are there, and the file that was imported does not say how they are started. */
const nothing = 'exec sleep infinity';

/** The draft as the text of a file, what has no equal first. */
export function yamlOf(draft: Draft, from: string[], notes: readonly Note[], ssh: boolean): string {
  const services: Record<string, unknown> = {};
  for (const { name, hosts, port, udpOnly } of draft.apps)
    services[name] = {
      type: 'app',
      hosts,
      command: '',
      port,
      ...(udpOnly ? { check: { script: 'true' } } : {}),
    };
  for (const { name, hosts, vip, listen, ...rest } of draft.directors)
    services[name] = { type: 'director', hosts, vip: vip.length === 1 ? vip[0] : vip, listen, ...rest };
  const document = new Document(
    {
      cluster: draft.cluster,
      ...(draft.network ? { network: draft.network } : {}),
      hosts: draft.hosts,
      services,
    },
    { aliasDuplicateObjects: false },
  );
  flow(document, ['network']);
  commands(
    document,
    draft.apps.map(({ name }) => name),
    ssh ? nothing : standIn,
  );
  for (const name of Object.keys(draft.hosts)) {
    flow(document, ['hosts', name]);
    const remark = draft.remarks[name];
    const node = document.getIn(['hosts', name], true);
    if (remark !== undefined && isMap(node)) node.comment = ` ${remark}`;
  }
  for (const [name, service] of Object.entries(services)) {
    flow(document, ['services', name, 'hosts']);
    flow(document, ['services', name, 'check']);
    const listens = (service as { listen?: unknown[] }).listen ?? [];
    listens.forEach((listen, i) => {
      const at = ['services', name, 'listen', i];
      if (JSON.stringify(listen).length <= widestLine) flow(document, at);
      for (const key of ['check', 'weights']) flow(document, [...at, key]);
    });
  }
  document.commentBefore = headOf(from, notes, ssh);
  const map = document.contents as unknown as YAMLMap;
  for (const item of map.items.slice(1)) (item.key as { spaceBefore?: boolean }).spaceBefore = true;
  return document.toString({ lineWidth: 0 });
}

/** One command for all of them: said once, and then by reference. */
function commands(document: Document, services: string[], command: string): void {
  const scalar = new Scalar(command);
  services.forEach((name, i) => {
    const path = ['services', name, 'command'];
    if (i === 0) {
      if (services.length > 1) scalar.anchor = 'command';
      document.setIn(path, scalar);
    } else document.setIn(path, document.createAlias(scalar));
  });
}

/** Longer listens are written over several lines. */
const widestLine = 160;

function flow(document: Document, path: (string | number)[]): void {
  const node = document.getIn(path, true);
  if (isMap(node) || isSeq(node)) node.flow = true;
}

function headOf(from: string[], notes: readonly Note[], ssh: boolean): string {
  const lines = [
    `Imported from ${from.join(', ')} by phalanx import.`,
    ...(ssh
      ? [
          'The servers are left as they run: give each service its own `command` to have Phalanx start and keep them.',
        ]
      : [
          'Hosts are namespaces of this machine, and a stand-in answers for every server: phalanx up tries it here.',
          'For the real machines import with --ssh USER, and give each service its own `command`.',
        ]),
  ];
  const listed = noteLines(notes);
  if (listed.length > 0) lines.push('', ...listed);
  return lines.map((line) => (line === '' ? '' : ` ${line}`)).join('\n');
}

const titles: Record<Note['kind'], string> = {
  lost: 'Has no equal:',
  differs: 'Is written, and differs:',
  ours: 'Phalanx sees to it:',
};

/** The notes, those that say the same of the same word in one line, by file and line. */
export function noteLines(
  notes: readonly Note[],
  kinds: Note['kind'][] = ['lost', 'differs', 'ours'],
): string[] {
  return kinds.flatMap((kind) => {
    const groups = new Map<string, { what: Set<string>; places: Map<string, number[]>; why: string }>();
    for (const note of notes.filter((one) => one.kind === kind)) {
      const key = `${note.what.split(' ')[0]} ${note.why}`;
      const group = groups.get(key) ?? { what: new Set(), places: new Map(), why: note.why };
      groups.set(key, group);
      group.what.add(note.what);
      const lines = group.places.get(note.place.file) ?? [];
      group.places.set(note.place.file, lines);
      if (!lines.includes(note.place.line)) lines.push(note.place.line);
    }
    if (groups.size === 0) return [];
    const lines = [...groups.values()].map(({ what, places, why }) => {
      const where = [...places].map(([file, numbers]) => `${file}:${numbers.join(',')}`).join(' ');
      const first = [...what][0]!;
      const word = what.size === 1 ? first : `${first.split(' ')[0]} ...`;
      return `  ${where}: ${plain(word)}: ${why}`;
    });
    return [titles[kind], ...lines];
  });
}

/** What another file says must neither end the comment nor steer the terminal. */
function plain(text: string): string {
  const line = text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
  return line.length > 100 ? `${line.slice(0, 97)}...` : line;
}

import { quote } from '../shell.ts';

export interface Fragment {
  id: string;
  script: string;
  /** Ids of fragments of the same script, before it; when one of them was not done this one is skipped. */
  needs?: string[];
}

/**
 * Compiles steps of one host to one script. Each runs in a shell of its own, with nothing on standard input, and
 * is told of in JSON lines as it goes: {"step":id,"state":"start" | "done" | "failed" | "skipped","stderr":...}. A failed step stops
 * only those that need it. Exit status: 0 when all are done, 1 otherwise.
 */
export function stepScript(fragments: Fragment[]): string {
  const at = new Map(fragments.map(({ id }, index) => [id, index]));
  const parts = fragments.map(({ id, script, needs = [] }, index) => {
    const before = needs.map((need) => at.get(need)).filter((found) => found !== undefined);
    const late = before.find((found) => found >= index);
    if (late !== undefined) throw new Error(`step ${id} needs ${fragments[late]!.id}, which comes after it`);
    const key = JSON.stringify(id);
    return `step${index}() (
${script}
)
run_step ${index} ${quote(key)} ${quote(` ${before.map((found) => `${found} `).join('')}`)}`;
  });
  return `exec 3>&1
failed=' '
json_string() { tr -d '\\000-\\010\\013-\\037' | sed 's/\\\\/\\\\\\\\/g; s/"/\\\\"/g; s/\\t/\\\\t/g' | awk 'NR > 1 { printf "\\\\n" } { printf "%s", $0 }'; }
run_step() {
  for need in $3; do
    case $failed in *" $need "*)
      failed="$failed$1 "
      printf '{"step":%s,"state":"skipped"}\\n' "$2"
      return
      ;;
    esac
  done
  printf '{"step":%s,"state":"start"}\\n' "$2"
  # Not in a condition: there \`set -e\` would mean nothing inside.
  stderr=$("step$1" 2>&1 >&3 3>&- </dev/null)
  if [ $? -eq 0 ]; then
    printf '{"step":%s,"state":"done"}\\n' "$2"
  else
    failed="$failed$1 "
    printf '{"step":%s,"state":"failed","stderr":"%s"}\\n' "$2" "$(printf '%s' "$stderr" | tail -c 4000 | json_string)"
  fi
}
${parts.join('\n')}
[ "$failed" = ' ' ]
`;
}

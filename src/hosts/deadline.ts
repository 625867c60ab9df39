/** What `asked` comes to, if it does so in `ms`; rejects with a sentence otherwise. Whoever comes later has nobody left to tell, so its error is nobody's. */
export async function within<T>(
  asked: Promise<T>,
  ms: number,
  late = `no answer within ${ms} ms`,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(late)), ms);
  });
  asked.catch(() => {});
  try {
    return await Promise.race([asked, passed]);
  } finally {
    clearTimeout(timer);
  }
}

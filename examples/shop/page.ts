/** The one page: what is in the cart, the newest orders with who did what, and how the services behind it are. */
export const page = (member: string): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The shop</title>
<style>
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  header { display: flex; flex-wrap: wrap; gap: 1rem; align-items: baseline; justify-content: space-between; }
  h1 { margin: 0; font-size: 1.6rem; }
  button { font: inherit; padding: .3rem .9rem; cursor: pointer; }
  table { border-collapse: collapse; width: 100%; margin-top: 1rem; font-variant-numeric: tabular-nums; }
  th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
  th { font-weight: 600; }
  .tiers { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: 1rem 0; list-style: none; }
  .tiers li { border: 1px solid var(--line); border-radius: 1rem; padding: .1rem .8rem; }
  .away { background: #b3261e; color: white; }
  #said { min-height: 1.5em; }
</style>
<header><h1>The shop</h1><span>this answer came from <strong id="member">${member}</strong></span></header>
<ul class="tiers" id="tiers"></ul>
<p>In your cart: <strong id="cart">nothing</strong></p>
<p><button id="add">A shield, please</button> <button id="order">Order</button></p>
<p id="said" role="status"></p>
<table>
  <thead><tr><th>Order</th><th>Items</th><th>Taken by</th><th>Event seen by</th><th>Mail sent by</th></tr></thead>
  <tbody id="orders"></tbody>
</table>
<script type="module">
  const at = (id) => document.getElementById(id);
  const kinds = { cart: 'cart: Redis', locks: 'order numbers: ZooKeeper', events: 'events: Kafka', jobs: 'mail: RabbitMQ' };
  const row = (cells) => {
    const tr = document.createElement('tr');
    for (const cell of cells) tr.append(Object.assign(document.createElement('td'), { textContent: cell ?? '...' }));
    return tr;
  };
  async function look() {
    try {
      const state = await (await fetch('/state', { signal: AbortSignal.timeout(2000) })).json();
      at('member').textContent = state.member;
      at('tiers').replaceChildren(...state.tiers.map(({ name, trouble }) =>
        Object.assign(document.createElement('li'), { textContent: kinds[name], className: trouble ? 'away' : '', title: trouble ?? 'answers' })));
      if (state.cart) at('cart').textContent = Object.entries(state.cart).map(([item, n]) => n + ' ' + item).join(', ') || 'nothing';
      if (state.orders) at('orders').replaceChildren(...state.orders.map((o) => row([o.number, o.items, o.member, o.event, o.mail])));
    } catch { at('said').textContent = 'no answer; trying again'; }
  }
  const post = async (path) => {
    at('said').textContent = '';
    const answer = await fetch(path, { method: 'POST' });
    const body = await answer.json();
    at('said').textContent = answer.ok ? (body.number ? 'order ' + body.number + ': ' + answer.headers.get('Server-Timing') : '') : body.tier + ' is away: ' + body.error;
    look();
  };
  at('add').onclick = () => post('/cart');
  at('order').onclick = () => post('/order');
  look();
  setInterval(look, 1000);
</script>
</html>
`;

"""The few lines of script with which a page of the daemon keeps itself up to date.

It asks for the page that is shown, and puts what has changed in place of what was there: where the
reader looks, what is focused and what is selected elsewhere stay. It is allowed by its hash;
without it the page is loaded anew now and then.
"""

EVERY_S = 10
"""How often an open page asks again; one that nobody looks at does not."""
RELOAD_S = 30
"""How often it is loaded anew, where no script runs."""
LATE_S = 3 * EVERY_S
"""For how long the daemon may be silent, before the page says so."""

SCRIPT = """
(() => {
  "use strict";
  const every = EVERY_MS, late = LATE_MS;
  const heard = document.getElementById("heard"), stale = document.getElementById("stale");
  let last = Date.now(), asking = false, why = "";
  const clock = (at) => at.toISOString().slice(11, 19) + " UTC";
  const say = () => {
    if (document.hidden || (asking && why === "")) return;
    const silent = Date.now() - last;
    const told = why === "" && silent < late ? "" :
      `Stale: ${why || "the daemon does not answer"}. Nothing was heard of it since ` +
      `${clock(new Date(last))}, ${Math.round(silent / 1000)} s ago; below is what was so then.`;
    const shown = told !== "";
    if (stale.hidden === shown) stale.hidden = !shown;
    if (stale.firstElementChild.textContent !== told) stale.firstElementChild.textContent = told;
    document.body.classList.toggle("stale", shown);
  };
  const key = (one) => one.id || one.getAttribute("href") || one.getAttribute("aria-label");
  const find = (name) => [...document.querySelectorAll("main [tabindex], main a")]
    .find((one) => key(one) === name);
  const put = (fresh) => {
    const old = document.querySelector("main"), main = fresh.querySelector("main");
    const focused = old.contains(document.activeElement) ? key(document.activeElement) : null;
    const moved = [...old.querySelectorAll("[tabindex]")]
      .filter((one) => one.scrollLeft).map((one) => [key(one), one.scrollLeft]);
    const top = window.scrollY, was = [...old.children], is = [...main.children];
    is.forEach((one, index) => {
      if (index >= was.length) old.append(one);
      else if (was[index].outerHTML !== one.outerHTML) was[index].replaceWith(one);
    });
    was.slice(is.length).forEach((one) => one.remove());
    moved.forEach(([name, left]) => { const one = find(name); if (one) one.scrollLeft = left; });
    if (focused && document.activeElement === document.body) {
      const one = find(focused);
      if (one) one.focus({preventScroll: true});
    }
    window.scrollTo(window.scrollX, top);
    heard.textContent = fresh.getElementById("heard").textContent;
    document.title = fresh.title;
  };
  const ask = async () => {
    if (document.hidden || asking) return;
    asking = true;
    try {
      const answer = await fetch(location.origin + location.pathname,
        {cache: "no-store", redirect: "error", signal: AbortSignal.timeout(every)});
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok) {
        const told = page.querySelector("main p");
        why = told ? told.textContent : `the daemon answered ${answer.status}`;
      } else {
        const look = (one) => one.querySelector("style").textContent;
        if (look(page) !== look(document)) { location.reload(); return; }
        put(page);
        last = Date.now(); why = "";
      }
    } catch { why = "the daemon does not answer"; }
    finally { asking = false; say(); }
  };
  setInterval(ask, every);
  setInterval(say, 1000);
  document.addEventListener("visibilitychange", ask);
})();
""".replace("EVERY_MS", str(1000 * EVERY_S)).replace("LATE_MS", str(1000 * LATE_S))

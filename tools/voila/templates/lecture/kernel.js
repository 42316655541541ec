/* Say so when nobody answers any more: sliders still move then, and nothing else does. */
(() => {
  const ENDED = "The Python behind this page has ended, so its demos no longer answer. Reload the page (F5) to start them afresh.";
  const AWAY = "The server of this page does not answer. If it was ended, start it again (make demo); then reload the page (F5).";
  let leaving = false;
  window.addEventListener("pagehide", () => { leaving = true; });

  function say(text) {
    const line = document.getElementById("ended") ?? document.createElement("p");
    line.id = "ended";
    line.setAttribute("role", "alert");
    document.body.prepend(line);
    if (line.textContent !== ENDED) line.textContent = text;
    line.hidden = !line.textContent;
  }

  async function look(kernel) {
    if (leaving) return;
    try {
      const answer = await fetch(kernel);
      if (answer.status === 404) say(ENDED);
    } catch {
      if (!leaving) say(AWAY);
    }
  }

  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...args) {
      super(...args);
      const kernel = /^ws(.*\/api\/kernels\/[^/?]+)/.exec(this.url);
      if (!kernel) return;
      this.addEventListener("open", () => say(""));
      this.addEventListener("close", () => look(`http${kernel[1]}`));
      this.addEventListener("message", ({data}) => {
        if ((data.length ?? data.byteLength ?? data.size) > 4096) return; // a picture
        const text = typeof data === "string" ? data : new TextDecoder().decode(data);
        if (/"execution_state": ?"(restarting|dead)"/.test(text)) say(ENDED);
      });
    }
  };
})();

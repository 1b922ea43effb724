// Follows a run: each change of its files brings a new page, whose content replaces the old one.
const events = new EventSource("/events");
events.onmessage = async () => {
  const answer = await fetch("/");
  if (!answer.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("report");
  const open = [...document.querySelectorAll("details")].map((d) => d.open);
  const status = document.getElementById("live").textContent;
  document.getElementById("report").replaceChildren(...next.childNodes);
  document.getElementById("live").textContent = status;
  document.querySelectorAll("details").forEach((d, i) => { d.open = open[i] ?? false; });
};
events.onerror = () => { document.getElementById("live").textContent = "The connection is gone; trying again."; };
events.onopen = () => { document.getElementById("live").textContent = "This page follows the run."; };

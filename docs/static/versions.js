// Makes a list of the published versions of the line that says which one is read, by versions.json
// beside the folders of the versions (tools/publish_site.py). The line stays as it is where there
// is no such file, and where it cannot be read, as in pages opened from a disk.
(async () => {
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  const above = new URL("..", root);
  const published = await fetch(new URL("versions.json", above))
    .then((answer) => answer.json())
    .catch(() => []);
  const urlOf = (version) => new URL(`${version.folder}/`, above);
  const isRead = (version) => urlOf(version).href === root.href;
  // Otherwise the file is of something else that happens to lie above the site.
  if (!Array.isArray(published) || !published.some(isRead)) return;

  const place = document.querySelector(".versions");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const list = document.createElement("ul");
  summary.textContent = place.textContent.trim();
  details.append(summary, list);
  place.replaceChildren(details);

  async function entry(version) {
    const link = document.createElement("a");
    link.textContent = version.title;
    link.href = urlOf(version).href;
    if (isRead(version)) link.setAttribute("aria-current", "true");
    // A page that the other version does not have is no place to land on.
    const page = new URL(location.href.slice(root.href.length), link.href);
    const found = await fetch(page, { method: "HEAD" }).catch(() => ({ ok: false }));
    if (found.ok) link.href = page.href;
    const item = document.createElement("li");
    item.append(link);
    return item;
  }

  // Anew each time, because the part of the page in the address may have changed.
  details.addEventListener("toggle", async () => {
    if (details.open) list.replaceChildren(...(await Promise.all(published.map(entry))));
  });
})();

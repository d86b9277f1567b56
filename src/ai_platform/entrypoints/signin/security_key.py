"""The page that asks a browser for its security key (W3C Web Authentication), and the script that does so.

The script is the only one of these pages; the content security policy lets this text run and nothing else.
"""

from collections.abc import Mapping

from ai_platform.entrypoints.signin.web import Page, form, text

SCRIPT = """
const form = document.forms[0], say = document.getElementById("say");
const bytes = (t) => Uint8Array.from(atob(t.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const letters = (b) => btoa(String.fromCharCode(...new Uint8Array(b)))
  .replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
async function ask() {
  const options = JSON.parse(document.getElementById("options").value);
  options.challenge = bytes(options.challenge);
  if (options.user) options.user.id = bytes(options.user.id);
  for (const list of [options.allowCredentials, options.excludeCredentials])
    for (const one of list || []) one.id = bytes(one.id);
  try {
    const way = options.user ? "create" : "get";
    const found = await navigator.credentials[way]({ publicKey: options });
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
      if (found.response[name]) response[name] = letters(found.response[name]);
    form.elements.answer.value = JSON.stringify(
      { id: found.id, rawId: letters(found.rawId), type: found.type, response, clientExtensionResults: {} });
    form.submit();
  } catch (error) {
    say.textContent = "The browser could not use a security key: " + error.message;
  }
}
form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
ask();
"""


def key_page(title: str, note: str, *, action: str, options: str, fields: Mapping[str, str]) -> Page:
    """note: a sentence above. options: for the browser, JSON. fields: what goes back to `action` with the answer."""
    inner = (
        f'<input type="hidden" id="options" value="{text(options)}"><input type="hidden" name="answer" value="">'
        '<p id="say" class="soft" role="status" aria-live="polite">Touch your security key when it blinks.</p>'
        '<button class="main">Ask again</button>'
    )
    needs = "<noscript><p class='warn'>A security key needs JavaScript. Use a code instead.</p></noscript>"
    return Page(title, f"<p>{text(note)}</p>{needs}{form(action, fields, inner)}", script=SCRIPT)

// The designer: a colour's picker and its text are one; a picture is sent as soon as it is chosen.
(function () {
  "use strict";

  const form = document.getElementById("look-form");
  if (!form) return;

  const isColor = (text) => /^#[0-9a-f]{6}$/i.test(text);

  // Capturing, so that the text is right before htmx hears of the change and sends the form.
  form.addEventListener(
    "input",
    (event) => {
      const changed = event.target;
      if (changed.dataset.colorOf) {
        document.getElementById(changed.dataset.colorOf).value = changed.value;
        return;
      }
      const picker = form.querySelector(`[data-color-of="${CSS.escape(changed.id)}"]`);
      if (picker && isColor(changed.value)) picker.value = changed.value;
    },
    true,
  );

  form.addEventListener("change", (event) => {
    const chosen = event.target;
    const button = chosen.dataset.uploads && document.getElementById(chosen.dataset.uploads);
    if (!button || !chosen.files.length) return;
    const tooLarge = chosen.files[0].size > Number(chosen.dataset.bytesMax);
    chosen.classList.toggle("is-invalid", tooLarge);
    if (tooLarge) chosen.value = "";
    else form.requestSubmit(button);
  });
})();

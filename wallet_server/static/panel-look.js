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

  // A chosen file is sent at once, and the page comes back to where it was chosen.
  form.addEventListener("change", (event) => {
    const chosen = event.target;
    const button = chosen.dataset.uploads && document.getElementById(chosen.dataset.uploads);
    if (!button || !chosen.files.length) return;
    const tooLarge = chosen.files[0].size > Number(chosen.dataset.bytesMax);
    chosen.classList.toggle("is-invalid", tooLarge);
    chosen.parentElement.querySelector("[data-too-large]").hidden = !tooLarge;
    if (tooLarge) {
      chosen.value = "";
      return;
    }
    button.formAction = `${form.getAttribute("action")}#${chosen.closest("fieldset").id}`;
    form.requestSubmit(button);
  });

  // The point of a photo that stays in sight: two sliders, and a press on the photo that moves both.
  form.querySelectorAll("[data-photo]").forEach((picture) => {
    const sliders = ["x", "y"].map((axis) => document.getElementById(`${picture.dataset.photo}_${axis}`));
    const point = picture.appendChild(document.createElement("i"));
    const show = () => {
      [point.style.left, point.style.top] = sliders.map((slider) => `${slider.value}%`);
    };
    show();
    sliders.forEach((slider) => slider.addEventListener("input", show));
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      sliders[0].value = Math.round((100 * (event.clientX - box.left)) / box.width);
      sliders[1].value = Math.round((100 * (event.clientY - box.top)) / box.height);
      show();
      sliders[0].dispatchEvent(new Event("input", { bubbles: true }));
    });
  });
})();

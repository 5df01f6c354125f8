// The slider shows the picture of one epoch. Without scripts the page shows that of the last one.
const bar = document.querySelector(".epochs");
if (bar) {
  const slider = bar.querySelector("input"), output = bar.querySelector("output"), button = bar.querySelector("button");
  const pictures = [...document.querySelectorAll(".sheet img")];
  const show = () => {
    pictures.forEach((picture, index) => { picture.hidden = index !== Number(slider.value); });
    output.textContent = "Epoch " + pictures[slider.value].dataset.epoch;
  };
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  const step = () => {
    slider.value = Number(slider.value) + 1;
    show();
    if (slider.value === slider.max) stop();
  };
  slider.addEventListener("input", () => { stop(); show(); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) { slider.value = 0; show(); }
    button.textContent = "Pause";
    timer = setInterval(step, Math.max(120, 4000 / pictures.length));
  });
  bar.hidden = false;
  show();
}

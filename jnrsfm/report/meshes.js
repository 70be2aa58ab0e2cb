// The moving mesh: over its photograph, and by itself, turned with the pointer. `THREE` and `#data` come with the page.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const rest = floats(data.rest), basis = floats(data.basis), delta = floats(data.delta);
  const rotations = floats(data.rotations), places = floats(data.places);
  const faces = new Uint16Array(bytes(data.faces).buffer);
  const vertices = rest.length / 3, handles = basis.length / vertices, frames = data.frames.length;
  const box = document.getElementById("viewer");

  const geometry = new THREE.BufferGeometry();
  const position = new THREE.BufferAttribute(new Float32Array(rest), 3);
  geometry.setAttribute("position", position);
  geometry.setIndex(new THREE.BufferAttribute(faces, 1));
  if (data.colours) geometry.setAttribute("color", new THREE.BufferAttribute(floats(data.colours), 3));

  function view(canvas, colours) {
    const renderer = new THREE.WebGLRenderer({ canvas, alpha: true, antialias: true, preserveDrawingBuffer: true });
    const side = canvas.clientWidth || 360;
    renderer.setPixelRatio(window.devicePixelRatio || 1);
    renderer.setSize(side, side, false);
    const scene = new THREE.Scene();
    const material = new THREE.MeshLambertMaterial({
      vertexColors: colours && !!data.colours, color: colours && data.colours ? 0xffffff : 0x8fbcff,
      flatShading: true, transparent: !colours, opacity: colours ? 1 : 0.7,
    });
    const mesh = new THREE.Mesh(geometry, material);
    mesh.frustumCulled = false;
    mesh.matrixAutoUpdate = false;
    scene.add(mesh, new THREE.AmbientLight(0xffffff, 1.2));
    const lamp = new THREE.DirectionalLight(0xffffff, 2.2);
    lamp.position.set(-0.4, 0.6, 1);
    scene.add(lamp);
    // the image spans [-1, 1] in x and y, y up
    const camera = new THREE.OrthographicCamera(-1, 1, 1, -1, -50, 50);
    return { renderer, scene, mesh, camera };
  }

  let over, free;
  try {
    over = data.photos ? view(document.getElementById("over"), false) : null;
    free = view(document.getElementById("free"), true);
  } catch (error) {
    box.hidden = true;
    document.getElementById("no-webgl").hidden = false;
    return;
  }

  const turn = { yaw: 0.8, pitch: 0.15 };
  const slider = document.getElementById("frame"), button = document.getElementById("play");
  const photo = document.getElementById("photo"), label = document.getElementById("number");
  let at = 0, playing = frames > 1, last = 0;

  // Camera-frame axes (x right, y down, z forward) of the frame, as a matrix for y up and z towards the viewer.
  function pose(a, b, t, scale, x, y) {
    const m = new THREE.Matrix4(), e = [];
    for (let i = 0; i < 9; i++) e.push((1 - t) * rotations[9 * a + i] + t * rotations[9 * b + i]);
    m.set(e[0] * scale, e[1] * scale, e[2] * scale, x, -e[3] * scale, -e[4] * scale, -e[5] * scale, y,
      -e[6] * scale, -e[7] * scale, -e[8] * scale, 0, 0, 0, 0, 1);
    return m;
  }

  function draw() {
    const a = Math.floor(at), b = Math.min(a + 1, frames - 1), t = at - a, p = position.array;
    const move = new Float32Array(3 * handles);
    for (let i = 0; i < 3 * handles; i++) move[i] = (1 - t) * delta[3 * handles * a + i] + t * delta[3 * handles * b + i];
    for (let v = 0; v < vertices; v++) {
      let x = rest[3 * v], y = rest[3 * v + 1], z = rest[3 * v + 2];
      for (let k = 0; k < handles; k++) {
        const w = basis[v * handles + k];
        x += w * move[3 * k]; y += w * move[3 * k + 1]; z += w * move[3 * k + 2];
      }
      p[3 * v] = x; p[3 * v + 1] = y; p[3 * v + 2] = z;
    }
    position.needsUpdate = true;
    geometry.computeVertexNormals();
    if (over) {
      const c = Math.round(at);  // a photograph stands still: the mesh of its own frame lies over it
      photo.src = data.photos[c];
      const near = Math.abs(at - c) < 0.25;
      over.mesh.visible = near || !playing;
      over.mesh.matrix = pose(a, b, t, places[3 * c], places[3 * c + 1], places[3 * c + 2]);
      over.renderer.render(over.scene, over.camera);
    }
    const orbit = new THREE.Matrix4().makeRotationX(turn.pitch).multiply(new THREE.Matrix4().makeRotationY(turn.yaw));
    free.mesh.matrix = orbit.multiply(pose(a, b, t, 0.85, 0, 0));
    free.renderer.render(free.scene, free.camera);
    slider.value = String(at);
    label.textContent = `frame ${data.frames[Math.round(at)]}`;
    button.textContent = playing ? "Pause" : "Play";
  }

  function tick(now) {
    if (playing) {
      at = (at + Math.min(now - last, 100) / 1000 * data.rate) % Math.max(frames - 1, 1);
      draw();
    }
    last = now;
    requestAnimationFrame(tick);
  }

  const canvas = document.getElementById("free");
  canvas.addEventListener("pointermove", (e) => {
    if (!e.buttons) return;
    turn.yaw += e.movementX * 0.01;
    turn.pitch = Math.max(-1.5, Math.min(1.5, turn.pitch + e.movementY * 0.01));
    if (!playing) draw();
  });
  slider.max = String(frames - 1);
  slider.addEventListener("input", () => { playing = false; at = Number(slider.value); draw(); });
  button.addEventListener("click", () => { playing = !playing && frames > 1; draw(); });
  draw();
  requestAnimationFrame(tick);
})();

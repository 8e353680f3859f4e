// Scores a picture: node score.mjs LIBRARY MODEL PICTURE.ppm (binary, eight bits per channel). Needs koffi: npm install koffi
import { readFileSync } from "node:fs";
import koffi from "koffi";

const [library, modelPath, picturePath] = process.argv.slice(2);
if (picturePath === undefined) {
  console.error("usage: node score.mjs LIBRARY MODEL PICTURE.ppm");
  process.exit(2);
}

const lib = koffi.load(library);
koffi.opaque("dcnn_model");
const ErrorStruct = koffi.struct("dcnn_error", { struct_size: "size_t", status: "int32_t", message: koffi.array("char", 508) });
koffi.struct("dcnn_image", { struct_size: "size_t", pixels: "const uint8_t *", width: "int64_t", height: "int64_t", row_bytes: "int64_t" });
const Result = koffi.struct("dcnn_result", {
  struct_size: "size_t",
  probabilities: "double *", probabilities_count: "size_t",
  samples: "double *", samples_count: "size_t",
  mean: "double", std: "double", percentile: "double",
  views: "int64_t", label: "int64_t", enlarged: "int64_t",
});
const open = lib.func("int dcnn_model_open(const char *path, _Out_ dcnn_model **model, _Inout_ dcnn_error *error)");
const close = lib.func("void dcnn_model_close(dcnn_model *model)");
const labels = lib.func("size_t dcnn_model_labels(const dcnn_model *model)");
const label = lib.func("const char *dcnn_model_label(const dcnn_model *model, size_t label)");
const score = lib.func(
  "int dcnn_score(const dcnn_model *model, const dcnn_image *image, const void *options, _Inout_ dcnn_result *result, _Inout_ dcnn_error *error)",
);

// Throws the error that a call reports.
function checked(call) {
  const error = { struct_size: koffi.sizeof(ErrorStruct), status: 0, message: "" };
  if (call(error) !== 0) throw new Error(error.message);
}

// A binary PPM's pixels, width and height.
function readPpm(path) {
  const bytes = readFileSync(path);
  const head = /^P6\s(\d+)\s(\d+)\s255\s/.exec(bytes.subarray(0, 64).toString("latin1"));
  const [width, height] = head === null ? [0, 0] : [Number(head[1]), Number(head[2])];
  const pixels = head === null ? bytes : bytes.subarray(head[0].length, head[0].length + 3 * width * height);
  if (head === null || width === 0 || pixels.length !== 3 * width * height) {
    throw new Error(`${path}: is no binary PPM of eight bits a channel`);
  }
  return { pixels, width, height };
}

function run() {
  const handle = [null];
  checked((error) => open(modelPath, handle, error));
  const model = handle[0];
  try {
    const { pixels, width, height } = readPpm(picturePath);
    const image = { struct_size: 40, pixels, width, height, row_bytes: 3 * width };
    const count = Number(labels(model));
    const room = koffi.alloc("double", count);
    const result = {
      struct_size: koffi.sizeof(Result), probabilities: room, probabilities_count: count, samples: null, samples_count: 0,
      mean: 0, std: 0, percentile: 0, views: 0, label: 0, enlarged: 0,
    };
    checked((error) => score(model, image, null, result, error));
    const probabilities = koffi.decode(room, koffi.array("double", count));
    console.log(`mean ${result.mean} std ${result.std} percentile ${result.percentile}`);
    probabilities.forEach((probability, number) => console.log(`${label(model, number)} ${probability}`));
  } finally {
    close(model);
  }
}

try {
  run();
} catch (why) {
  console.error(why.message);
  process.exitCode = 1;
}

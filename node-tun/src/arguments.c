// JavaScript values in, C values out; whatever does not fit is a TypeError that names the argument.
#include "common.h"

#include <errno.h>
#include <stdio.h>

bool call_open(struct call *call, napi_env env, napi_callback_info info, size_t needed) {
  call->env = env;
  call->count = MAX_ARGUMENTS;
  if (napi_get_cb_info(env, info, &call->count, call->values, NULL, NULL) != napi_ok) return false;
  if (call->count >= needed) return true;
  char text[96];
  snprintf(text, sizeof text, "%zu arguments are needed, got %zu", needed, call->count);
  napi_throw_type_error(env, "ERR_MISSING_ARGS", text);
  return false;
}

bool arg_double(const struct call *call, size_t index, const char *name, double *out) {
  if (napi_get_value_double(call->env, call->values[index], out) == napi_ok && *out == *out) {
    return true;
  }
  throw_type(call->env, name, "a number");
  return false;
}

bool arg_u32(const struct call *call, size_t index, const char *name, uint32_t *out) {
  double value;
  if (napi_get_value_double(call->env, call->values[index], &value) == napi_ok && value >= 0 &&
      value <= UINT32_MAX && value == (double)(uint32_t)value) {
    *out = (uint32_t)value;
    return true;
  }
  throw_type(call->env, name, "an integer from 0 to 4294967295");
  return false;
}

bool arg_fd(const struct call *call, size_t index, const char *name, int *out) {
  double value;
  if (napi_get_value_double(call->env, call->values[index], &value) == napi_ok && value >= 0 &&
      value <= INT32_MAX && value == (double)(int)value) {
    *out = (int)value;
    return true;
  }
  throw_type(call->env, name, "a file descriptor (an integer of at least 0)");
  return false;
}

bool arg_bool(const struct call *call, size_t index, const char *name, bool *out) {
  if (napi_get_value_bool(call->env, call->values[index], out) == napi_ok) return true;
  throw_type(call->env, name, "a boolean");
  return false;
}

bool arg_string(const struct call *call, size_t index, const char *name, char *out, size_t size) {
  size_t length = 0;
  napi_status status = napi_get_value_string_utf8(call->env, call->values[index], NULL, 0, &length);
  if (status == napi_ok && length < size &&
      napi_get_value_string_utf8(call->env, call->values[index], out, size, &length) == napi_ok &&
      strlen(out) == length) {
    return true;
  }
  char expected[64];
  snprintf(expected, sizeof expected, "a string of less than %zu bytes, without NUL", size);
  throw_type(call->env, name, expected);
  return false;
}

static bool typed_array(const struct call *call, size_t index, napi_typedarray_type wanted,
                        void **data, size_t *length) {
  napi_typedarray_type type;
  bool is = false;
  napi_value value = call->values[index];
  if (napi_is_typedarray(call->env, value, &is) != napi_ok || !is) return false;
  return napi_get_typedarray_info(call->env, value, &type, length, data, NULL, NULL) == napi_ok &&
         type == wanted;
}

bool arg_bytes(const struct call *call, size_t index, const char *name, struct memory *out) {
  void *data = NULL;
  if (typed_array(call, index, napi_uint8_array, &data, &out->length)) {
    out->base = data;
    return true;
  }
  throw_type(call->env, name, "a Uint8Array");
  return false;
}

bool arg_u32s(const struct call *call, size_t index, const char *name, uint32_t **out, size_t *n) {
  void *data = NULL;
  if (typed_array(call, index, napi_uint32_array, &data, n)) {
    *out = data;
    return true;
  }
  throw_type(call->env, name, "a Uint32Array");
  return false;
}

// memory, at, count: the same three in reads and writes, from argument 1.
static bool batch_memory(struct batch *batch, const struct call *call) {
  uint32_t at;
  if (!arg_bytes(call, 1, "memory", &batch->memory)) return false;
  if (!arg_u32(call, 2, "at", &at) || !arg_u32(call, 3, "count", &batch->count)) return false;
  batch->env = call->env;
  uint64_t end = (uint64_t)at + (uint64_t)batch->count * sizeof(struct descriptor);
  uintptr_t first = (uintptr_t)batch->memory.base + at;
  if (end <= batch->memory.length && first % _Alignof(struct descriptor) == 0) {
    batch->first = (struct descriptor *)first;
    return true;
  }
  char object[96];
  snprintf(object, sizeof object, "%u descriptors at %u of %zu bytes%s", batch->count, at,
           batch->memory.length, end <= batch->memory.length ? " (not a multiple of 4)" : "");
  throw_system(call->env, EFAULT, "batch", object);
  return false;
}

bool batch_open_read(struct batch *batch, napi_env env, napi_callback_info info) {
  struct call call;
  napi_valuetype type = napi_undefined;
  if (!call_open(&call, env, info, 4) || !arg_fd(&call, 0, "fd", &batch->fd)) return false;
  if (!batch_memory(batch, &call)) return false;
  batch->socket_index = 0;
  batch->most_bytes = 0;
  if (call.count > 4) napi_typeof(env, call.values[4], &type);
  if (type == napi_undefined) return true;
  if (!arg_u32(&call, 4, "socketIndex", &batch->socket_index)) return false;
  if (batch->socket_index <= UINT16_MAX) return true;
  throw_type(env, "socketIndex", "at most 65535");
  return false;
}

bool batch_open_write(struct batch *batch, napi_env env, napi_callback_info info) {
  struct call call;
  void *data = NULL;
  if (!call_open(&call, env, info, 4)) return false;
  if (!typed_array(&call, 0, napi_int32_array, &data, &batch->fds_length)) {
    throw_type(env, "fds", "an Int32Array");
    return false;
  }
  batch->fds = data;
  return batch_memory(batch, &call);
}

napi_value make_number(napi_env env, double value) {
  napi_value out = NULL;
  napi_create_double(env, value, &out);
  return out;
}

napi_value make_string(napi_env env, const char *value) {
  napi_value out = NULL;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &out);
  return out;
}

void set_number(napi_env env, napi_value object, const char *key, double value) {
  napi_set_named_property(env, object, key, make_number(env, value));
}

void set_string(napi_env env, napi_value object, const char *key, const char *value) {
  napi_set_named_property(env, object, key, make_string(env, value));
}

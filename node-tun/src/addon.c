// The addon's door: registers every function, and throws errors.
// All state is per environment (one per thread that loads the addon): the error class alone.
#include "common.h"

#include <stdio.h>
#include <stdlib.h>

struct instance {
  napi_ref error_class;
};

void throw_type(napi_env env, const char *name, const char *expected) {
  char text[160];
  snprintf(text, sizeof text, "%s must be %s", name, expected);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
}

static const char *error_name(int error) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
  const char *name = strerrorname_np(error);
  return name == NULL ? "" : name;
#else
  (void)error;
  return "";  // the JavaScript side knows the usual names
#endif
}

// new SystemCallError(errno, code, syscall, object, reason)
napi_value throw_system(napi_env env, int error, const char *syscall, const char *object) {
  struct instance *instance = NULL;
  napi_value constructor = NULL, made = NULL;
  napi_get_instance_data(env, (void **)&instance);
  if (instance != NULL && instance->error_class != NULL) {
    napi_get_reference_value(env, instance->error_class, &constructor);
  }
  if (constructor == NULL) {
    napi_throw_error(env, error_name(error), strerror(error));
    return NULL;
  }
  napi_value arguments[] = {make_number(env, error), make_string(env, error_name(error)),
                            make_string(env, syscall), make_string(env, object),
                            make_string(env, strerror(error))};
  if (napi_new_instance(env, constructor, 5, arguments, &made) == napi_ok) napi_throw(env, made);
  return NULL;
}

napi_value throw_system_fd(napi_env env, int error, const char *syscall, int fd) {
  char object[32];
  snprintf(object, sizeof object, "descriptor %d", fd);
  return throw_system(env, error, syscall, object);
}

static napi_value set_error_class(napi_env env, napi_callback_info info) {
  struct call call;
  struct instance *instance = NULL;
  napi_valuetype type;
  if (!call_open(&call, env, info, 1)) return NULL;
  napi_typeof(env, call.values[0], &type);
  napi_get_instance_data(env, (void **)&instance);
  if (type != napi_function || instance == NULL) {
    throw_type(env, "errorClass", "a class");
    return NULL;
  }
  if (instance->error_class != NULL) napi_delete_reference(env, instance->error_class);
  instance->error_class = NULL;
  napi_create_reference(env, call.values[0], 1, &instance->error_class);
  return NULL;
}

static void free_instance(napi_env env, void *data, void *hint) {
  struct instance *instance = data;
  (void)hint;
  if (instance->error_class != NULL) napi_delete_reference(env, instance->error_class);
  free(instance);
}

#define FIELD(key, field) {key, offsetof(struct descriptor, field)}
static napi_value make_layout(napi_env env) {
  static const struct {
    const char *key;
    size_t value;
  } fields[] = {
      {"DESCRIPTOR_SIZE", sizeof(struct descriptor)},
      FIELD("D_ADDRESS", address),
      FIELD("D_CAPACITY", capacity),
      FIELD("D_LENGTH", length),
      FIELD("D_SEGMENT", segment),
      FIELD("D_TOS", tos),
      FIELD("D_FLAGS", flags),
      FIELD("D_SOCKET", socket),
      FIELD("D_PORT", port),
      FIELD("D_FAMILY", family),
      FIELD("D_DIRECTION", direction),
      FIELD("D_SEGMENTS", segments),
      FIELD("D_STATUS", status),
      FIELD("D_FAILED", failed),
      FIELD("D_PRIVATE", own),
      FIELD("D_PEER", peer),
      FIELD("D_LOCAL", local),
      {"D_FLAG_TRUNCATED", DESCRIPTOR_TRUNCATED},
  };
  napi_value layout = NULL;
  napi_create_object(env, &layout);
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    set_number(env, layout, fields[i].key, (double)fields[i].value);
  }
  return layout;
}

static void add_functions(napi_env env, napi_value exports, const struct entry *entries) {
  for (; entries->name != NULL; entries++) {
    napi_value function = NULL;
    napi_create_function(env, entries->name, NAPI_AUTO_LENGTH, entries->function, NULL, &function);
    napi_set_named_property(env, exports, entries->name, function);
  }
}

NAPI_MODULE_INIT() {
  static const struct entry own[] = {{"setErrorClass", set_error_class}, {NULL, NULL}};
  struct instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL || napi_set_instance_data(env, instance, free_instance, NULL) != napi_ok) {
    free(instance);
    napi_throw_error(env, NULL, "node-tun: no memory for the addon's state");
    return NULL;
  }
  add_functions(env, exports, own);
  add_functions(env, exports, tun_entries);
  add_functions(env, exports, udp_entries);
  add_functions(env, exports, raw_entries);
  add_functions(env, exports, poll_entries);
  add_functions(env, exports, pass_entries);
  add_functions(env, exports, steer_entries);
  add_functions(env, exports, load_entries);
  add_functions(env, exports, flood_entries);
  add_functions(env, exports, ping_entries);
  add_functions(env, exports, exchange_entries);
  add_functions(env, exports, events_entries);
  add_functions(env, exports, resident_entries);
  napi_set_named_property(env, exports, "descriptorLayout", make_layout(env));
  return exports;
}

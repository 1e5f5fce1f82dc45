/**
 * The CustomResourceDefinition of Computes: one description from which the embedded cluster validates, fills in
 * defaults, merges, prints tables and answers `kubectl explain`. It is the one that tests install on a real API server.
 */
import { group, kind, plural, version } from "../schema/ComputeResource.ts"
import type { StructuralSchema } from "./StructuralSchema.ts"

/** The columns of `kubectl get computes`. */
export const printerColumns = [
  {
    name: "Ready",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Ready")].status'
  },
  {
    name: "Suspended",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Suspended")].status'
  },
  {
    name: "Age",
    type: "date",
    jsonPath: ".metadata.creationTimestamp"
  }
] as const

/** The schema of a Compute. */
export const computeSchema: StructuralSchema = {
  description: "A Compute is a tensor server that the KPU operator keeps running.",
  type: "object",
  "x-kubernetes-validations": [
    {
      rule: "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
      message: "metadata.name must match RFC 1035 DNS label format"
    },
    {
      rule: "size(self.metadata.name) <= 63",
      message: "metadata.name must be no more than 63 characters"
    }
  ],
  properties: {
    apiVersion: {
      description: "The version of this representation of the object.",
      type: "string"
    },
    kind: {
      description: "The kind of the object.",
      type: "string"
    },
    metadata: {
      type: "object"
    },
    spec: {
      description: "What the Compute should be.",
      type: "object",
      minProperties: 1,
      properties: {
        image: {
          description: "The container image of the tensor server. The operator's default applies when absent.",
          type: "string"
        },
        command: {
          description: "The entry point, in place of the image's.",
          type: "array",
          items: {
            type: "string"
          },
          "x-kubernetes-list-type": "atomic"
        },
        args: {
          description: "The arguments of the entry point.",
          type: "array",
          items: {
            type: "string"
          },
          "x-kubernetes-list-type": "atomic"
        },
        env: {
          description: "Environment variables of the tensor server.",
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: {
            type: "object",
            required: ["name"],
            properties: {
              name: {
                description: "The variable's name.",
                type: "string"
              },
              value: {
                description: "The variable's value; empty when absent.",
                type: "string"
              },
              valueFrom: {
                description: "Where the value comes from. Not together with value.",
                type: "object",
                properties: {
                  configMapKeyRef: {
                    description: "A key of a ConfigMap.",
                    type: "object",
                    required: ["key"],
                    properties: {
                      key: {
                        type: "string"
                      },
                      name: {
                        type: "string",
                        default: ""
                      },
                      optional: {
                        type: "boolean"
                      }
                    },
                    "x-kubernetes-map-type": "atomic"
                  },
                  fieldRef: {
                    description: "A field of the Pod.",
                    type: "object",
                    required: ["fieldPath"],
                    properties: {
                      apiVersion: {
                        type: "string"
                      },
                      fieldPath: {
                        type: "string"
                      }
                    },
                    "x-kubernetes-map-type": "atomic"
                  },
                  resourceFieldRef: {
                    description: "A resource limit or request of the container.",
                    type: "object",
                    required: ["resource"],
                    properties: {
                      containerName: {
                        type: "string"
                      },
                      divisor: {
                        anyOf: [
                          {
                            type: "integer"
                          },
                          {
                            type: "string"
                          }
                        ],
                        pattern:
                          "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$",
                        "x-kubernetes-int-or-string": true
                      },
                      resource: {
                        type: "string"
                      }
                    },
                    "x-kubernetes-map-type": "atomic"
                  },
                  secretKeyRef: {
                    description: "A key of a Secret.",
                    type: "object",
                    required: ["key"],
                    properties: {
                      key: {
                        type: "string"
                      },
                      name: {
                        type: "string",
                        default: ""
                      },
                      optional: {
                        type: "boolean"
                      }
                    },
                    "x-kubernetes-map-type": "atomic"
                  }
                }
              }
            }
          }
        },
        labels: {
          description: "Labels for the objects that the operator creates.",
          type: "object",
          additionalProperties: {
            type: "string"
          }
        },
        annotations: {
          description: "Annotations for the objects that the operator creates.",
          type: "object",
          additionalProperties: {
            type: "string"
          }
        },
        suspend: {
          description: "Whether the tensor server is stopped, and its objects kept.",
          type: "boolean",
          default: false
        }
      }
    },
    status: {
      description: "What the operator last saw.",
      type: "object",
      properties: {
        conditions: {
          description: "The conditions Ready and Suspended.",
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["type"],
          items: {
            type: "object",
            required: ["lastTransitionTime", "message", "reason", "status", "type"],
            properties: {
              type: {
                description: "The condition's name.",
                type: "string",
                maxLength: 316,
                pattern:
                  "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
              },
              status: {
                description: "Whether it holds.",
                type: "string",
                enum: ["True", "False", "Unknown"]
              },
              reason: {
                description: "Why, in one word.",
                type: "string",
                minLength: 1,
                maxLength: 1024,
                pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
              },
              message: {
                description: "Why, for people.",
                type: "string",
                maxLength: 32768
              },
              lastTransitionTime: {
                description: "When the status last changed.",
                type: "string",
                format: "date-time"
              },
              observedGeneration: {
                description: "The generation that the condition was set upon.",
                type: "integer",
                format: "int64",
                minimum: 0
              }
            }
          }
        }
      }
    }
  }
}

/** The object that `kubectl get crd computes.compute.kpu.dev` shows. */
export const customResourceDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: "Namespaced",
    names: { kind, listKind: `${kind}List`, plural, singular: "compute" },
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: printerColumns,
        schema: { openAPIV3Schema: computeSchema }
      }
    ]
  }
} as const
